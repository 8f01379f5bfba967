"""The report of an evaluation: one self-contained HTML page with tables and figures."""

from kronos.evaluation.report.report import EvaluationReport

__all__ = ["EvaluationReport"]
