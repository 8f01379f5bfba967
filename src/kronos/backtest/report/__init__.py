"""The report of a backtest: one self-contained HTML page, a JSON document, and tables for the terminal."""

from kronos.backtest.report.document import study_document
from kronos.backtest.report.report import BacktestReport
from kronos.backtest.report.tables import BacktestTables
from kronos.backtest.report.terminal import study_lines

__all__ = ["BacktestReport", "BacktestTables", "study_document", "study_lines"]
