"""The report of an evaluation: one self-contained HTML page with tables and figures."""

from kronos.evaluation.report.report import render_report, write_report

__all__ = ["render_report", "write_report"]
