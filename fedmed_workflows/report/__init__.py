"""The report of a run: tables, figures, and one page that holds both."""

from fedmed_workflows.report.page import write_report

__all__ = ["write_report"]
