"""The K-line table: schema, reading files, cleaning that reports, intervals, quality, longer candles."""

from kronos.candles.findings import Finding
from kronos.candles.quality import Quality, QualityRules, Segment, assess, rules_for
from kronos.candles.reading import read_candles, read_many, split_long
from kronos.candles.resampling import resample
from kronos.candles.schema import COLUMNS, PRICES
from kronos.candles.spacing import infer_interval
from kronos.candles.table import Candles
from kronos.candles.writing import write_candles

__all__ = [
    "COLUMNS",
    "PRICES",
    "Candles",
    "Finding",
    "Quality",
    "QualityRules",
    "Segment",
    "assess",
    "infer_interval",
    "read_candles",
    "read_many",
    "resample",
    "rules_for",
    "split_long",
    "write_candles",
]
