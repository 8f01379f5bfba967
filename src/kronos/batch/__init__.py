"""Batch forecasts: thousands to millions of series and origins, from Parquet files to Parquet files.

    plan = kronos.batch.make_plan("candles/")
    summary = kronos.batch.run(plan, KronosPredictor.from_pretrained(), "out/batch")
    table = summary.to_frame()

A run is stored in shards and resumes after an interruption. Its results depend on neither the engine (this machine, or
a Ray cluster) nor the number of workers, and its memory not on the number of series.
"""

from kronos.batch.candle_files import CandleFiles, CandlePaths
from kronos.batch.plan import BatchPlan, BatchSettings, TableKind, make_plan
from kronos.batch.runs import BatchSummary, SkippedForecast, discard_batch, read_forecasts, run, stored_forecasts
from kronos.engines import Engine, LocalEngine, RayEngine

__all__ = [
    "BatchPlan",
    "BatchSettings",
    "BatchSummary",
    "CandleFiles",
    "CandlePaths",
    "Engine",
    "LocalEngine",
    "RayEngine",
    "SkippedForecast",
    "TableKind",
    "discard_batch",
    "make_plan",
    "read_forecasts",
    "run",
    "stored_forecasts",
]
