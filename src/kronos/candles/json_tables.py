"""JSON as a table of candles: records, lists of rows, columns, and the envelopes of exchanges' and vendors' replies."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from kronos.errors import DataError
from kronos.formatting import truncate

_ROW = re.compile(r"\[\s*\"?\d[^\[\]\n]*\]\s*,?\s*$", re.MULTILINE)  # a row of numbers in brackets
_MIN_CELLS = 5  # a time and four prices
_KRAKEN = 8  # cells of a row of Kraken's
_MAX_DEPTH = 4  # of envelopes around the table
_SHAPE = "a list of records, a list of rows [time, open, high, low, close, volume], or an object of columns"


def is_json(text: str) -> bool:
    """Whether a text begins as a JSON array or object."""
    head = text[:4096].lstrip("\ufeff \r\n\t")
    starts = head.startswith(('{"', "{\n", "[{", "[[", "[\n", "{ ", "[ ")) or _ROW.match(head) is not None
    return starts and ("," in head or ":" in head)


def read_json(text: str, name: str) -> pd.DataFrame:
    """The table in a JSON document, or in lines of JSON records.

    Args:
        text: The document.
        name: Name of the file in messages.

    Raises:
        DataError: If the document is invalid or holds no table.
    """
    try:
        document = json.loads(text)
    except RecursionError:
        raise DataError(f"{name} is nested too deeply for a table of candles; write {_SHAPE}.") from None
    except ValueError as error:
        document = _read_lines(text, name, error)
    table = _find_table(document, 0)
    if table is None:
        raise DataError(f"{name} is JSON without a table of candles; write {_SHAPE}.")
    return table


def _read_lines(text: str, name: str, error: ValueError) -> list[Any]:
    """Records or rows, one a line."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 2:
        raise DataError(f"{name} is invalid JSON ({truncate(error, 80)}); write or download it again.") from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line.strip().rstrip(",")))
        except (ValueError, RecursionError) as broken:
            reason = truncate(broken, 80)
            raise DataError(f"{name} is invalid JSON in record {number} ({reason}); correct it.") from None
    return rows


def rows_table(rows: Sequence[Any]) -> pd.DataFrame | None:
    """The table of a list of records or of rows, None if it is neither."""
    if not rows:
        return None
    if all(isinstance(row, Mapping) for row in rows):
        return pd.DataFrame([dict(row) for row in rows])
    if all(isinstance(row, Sequence) and not isinstance(row, str) for row in rows):
        width = len(rows[0])
        if width >= _MIN_CELLS and all(len(row) == width for row in rows):
            return pd.DataFrame([list(row) for row in rows])
    return None


def _find_table(document: Any, depth: int) -> pd.DataFrame | None:
    """The table in a document, in whatever envelope."""
    if depth > _MAX_DEPTH:
        return None
    if isinstance(document, list):
        return rows_table(document)
    if not isinstance(document, dict):
        return None
    if "chart" in document and (table := _yahoo_table(document["chart"])) is not None:
        return table
    if isinstance(document.get("last"), int | float) and (table := _kraken_table(document)) is not None:
        return table
    columns = {key: value for key, value in document.items() if isinstance(value, list)}
    lengths = {len(value) for value in columns.values() if not any(isinstance(v, list | dict) for v in value[:1])}
    if len(columns) >= _MIN_CELLS and len(lengths) == 1:
        return pd.DataFrame({key: value for key, value in columns.items() if len(value) in lengths})
    if isinstance(document.get("columns"), list) and isinstance(document.get("data"), list):
        return _split_table(document)
    records = list(document.values())
    if len(records) > 1 and all(isinstance(r, dict) for r in records) and records[0].keys() == records[-1].keys():
        return _keyed_table(document)
    for value in sorted(document.values(), key=_size, reverse=True):
        table = _find_table(value, depth + 1)
        if table is not None:
            return table
    return None


def _yahoo_table(chart: Any) -> pd.DataFrame | None:
    """The table of a reply of Yahoo's chart API, on the clock of the exchange; None if it is another document.

    Raises:
        DataError: If it has several instruments.
    """
    results = chart.get("result") if isinstance(chart, Mapping) else None
    if not isinstance(results, list) or not results or not isinstance(results[0], Mapping):
        return None
    if len(results) > 1:
        raise DataError(f"The reply has the candles of {len(results)} instruments; save one per file.")
    try:
        quote = dict(results[0]["indicators"]["quote"][0])
        times = pd.to_datetime(pd.Series(results[0]["timestamp"]), unit="s", utc=True)
        meta = dict(results[0].get("meta") or {})
        if zone := meta.get("exchangeTimezoneName"):
            times = times.dt.tz_convert(str(zone))
            if str(meta.get("dataGranularity", ""))[-1:] in ("d", "k", "o"):  # 1d, 1wk, 1mo: the dates of the exchange
                days = times.dt.tz_localize(None).dt.normalize()
                times = days if days.is_unique else times
        return pd.DataFrame({"timestamps": times, **quote})
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _kraken_table(result: Mapping[str, Any]) -> pd.DataFrame | None:
    """The rows of Kraken's OHLC reply with a column that is 0 for those after the last complete candle."""
    lists = [value for value in result.values() if isinstance(value, list)]
    if len(lists) != 1 or (table := rows_table(lists[0])) is None or table.shape[1] != _KRAKEN or "open" in table:
        return None
    times = pd.to_numeric(table[0], errors="coerce")
    labels = ["time", "open", "high", "low", "close", "vwap", "volume", "count"]
    return table.set_axis(labels, axis=1).assign(confirm=(times <= result["last"]).astype(int))


def _size(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def _split_table(document: Mapping[str, Any]) -> pd.DataFrame | None:
    """The table that pandas writes as columns, index and data."""
    try:
        table = pd.DataFrame(document["data"], columns=document["columns"])
    except ValueError:
        return None
    index = document.get("index")
    if isinstance(index, list) and len(index) == len(table):
        table.insert(0, "index", index, allow_duplicates=True)
    return table


def _keyed_table(document: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame | None:
    """The table of records by time, or of columns by row."""
    first = next(iter(document.values()))
    if any(isinstance(value, list | dict) for value in first.values()):
        return None  # several instruments
    if len(first) > len(document) and set(map(len, document.values())) == {len(first)}:
        table = pd.DataFrame({key: list(value.values()) for key, value in document.items()})
        table.insert(0, "index", list(first))
        return table
    table = pd.DataFrame([dict(value) for value in document.values()])
    if not {"date", "time", "timestamp", "datetime"} & {str(label).lower() for label in table.columns}:
        table.insert(0, "timestamps", list(document))
    return table
