"""Reports of trainings: one self-contained HTML page per run, and an overview of several."""

from kronos.training.report.page import TrainingOverview, TrainingReport, write_reports

__all__ = ["TrainingOverview", "TrainingReport", "write_reports"]
