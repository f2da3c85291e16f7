"""The reports: tables, figures and pages of a run, of leave-one-site-out and of statistics, and the model card."""
