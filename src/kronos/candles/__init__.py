"""Tables of candles: reading and writing files, cleaning with findings, intervals, quality filters, resampling."""

from kronos.candles.candles import Candles
from kronos.candles.columns import COLUMNS, PRICES
from kronos.candles.findings import Finding
from kronos.candles.gaps import infer_interval
from kronos.candles.io import read_candles, read_many, split_long, write_candles
from kronos.candles.quality_filters import Quality, QualityRules, QualitySegment, assess, rules_for
from kronos.candles.read_options import ReadOptions
from kronos.candles.resampling import resample

__all__ = [
    "COLUMNS",
    "PRICES",
    "Candles",
    "Finding",
    "Quality",
    "QualityRules",
    "QualitySegment",
    "ReadOptions",
    "assess",
    "infer_interval",
    "read_candles",
    "read_many",
    "resample",
    "rules_for",
    "split_long",
    "write_candles",
]
