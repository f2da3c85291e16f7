"""The figures of the reports."""
