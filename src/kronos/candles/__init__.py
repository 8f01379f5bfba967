"""The K-line table: schema and column names, reading files, cleaning that reports, interval inference."""

from kronos.candles.findings import Finding
from kronos.candles.reading import read_candles, read_many, split_long
from kronos.candles.schema import COLUMNS, PRICES
from kronos.candles.spacing import infer_interval
from kronos.candles.table import Candles

__all__ = [
    "COLUMNS",
    "PRICES",
    "Candles",
    "Finding",
    "infer_interval",
    "read_candles",
    "read_many",
    "split_long",
]
