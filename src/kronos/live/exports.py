"""Exports of a record: its rows as they were hashed, and flat tables of forecasts, scores and gaps.

``rows`` is enough to verify the chain elsewhere; the other tables repeat what its bodies say, for analyses. Every file
of Parquet has the number and hash of the last row in its metadata, and ``verify.json`` has them for all formats, with
the rule of the chain, the digests of the files and what a verification found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from kronos.atomic import atomic_folder, write_text
from kronos.errors import ParameterError
from kronos.formatting import printable
from kronos.live.chain import GENESIS, Row
from kronos.live.entries import (
    LEVELS,
    Entry,
    ForecastEntry,
    MissedEntry,
    ScoreEntry,
    UnresolvedEntry,
    decode_paths,
)
from kronos.live.record import Record, entry_of
from kronos.live.scoring import INCREMENTS
from kronos.live.verification import verify

Format = Literal["parquet", "csv"]
_CHUNK = 250  # rows at a time
_RULE = "hash = SHA-256(previous hash + body), as 64 hexadecimal digits; both as UTF-8; before the first row: genesis"

_TEXT, _WHOLE, _REAL, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_ROW = {"seq": _WHOLE, "kind": _TEXT, "series": _TEXT, "origin": _TEXT}
_CHANCES = {f"{event}{end}": _REAL for event in ("upside", "amplification") for end in ("", "_low", "_high")}
_TABLES: Mapping[str, pa.Schema] = {
    name: pa.schema(_ROW | columns)
    for name, columns in {
        "rows": {"body": _TEXT, "hash": _TEXT},
        "forecasts": {
            "made_at": _TEXT,
            "server_time": _TEXT,
            "source": _TEXT,
            "simulated": _FLAG,
            "last_close": _REAL,
            "sigma": _REAL,
            "recent_volatility": _REAL,
            "seed": _WHOLE,
            "contender": _TEXT,
            "paths": _WHOLE,
            **_CHANCES,
        },
        "scores": {
            "made_at": _TEXT,
            "source": _TEXT,
            "fetched_at": _TEXT,
            "upside": _FLAG,
            "amplification": _FLAG,
            "contender": _TEXT,
            "brier_upside": _REAL,
            "brier_amplification": _REAL,
            **{f"increments_{step}": _REAL for step in INCREMENTS},
        },
        "steps": {
            "contender": _TEXT,
            "step": _WHOLE,
            "time": _TEXT,
            "close": _REAL,
            "crps": _REAL,
            **{f"inside_{level}": _FLAG for level in LEVELS},
        },
        "missed": {"made_at": _TEXT, "reason": _TEXT},
    }.items()
}


class _Writer(Protocol):
    def write_table(self, table: pa.Table) -> None: ...


def export(record: Record, folder: str | Path, file_format: Format = "parquet") -> dict[str, Any]:
    """Export a record up to its present head into a folder, which is replaced if it exists.

    Args:
        record: The record; others may append to it meanwhile.
        folder: The folder to write: ``rows``, ``forecasts`` (with late ones), ``scores`` (a line per contender),
            ``steps`` (a line per contender and step), ``missed`` (with unresolved ones), and ``verify.json``.
        file_format: ``parquet`` or ``csv``.

    Returns:
        What ``verify.json`` says.

    Raises:
        ParameterError: If the format is another one.
        StorageError: If the record cannot be read or the folder cannot be written.
    """
    if file_format not in ("parquet", "csv"):
        raise ParameterError(f"Unknown format '{file_format}': choose parquet or csv.")
    found = verify(record)
    seq, value = found.head
    with atomic_folder(folder, replace=True) as building:
        _write_tables(record, building, file_format, found.head)
        files = sorted(building.iterdir())
        summary = {
            "head": {"seq": seq, "hash": value},
            "genesis": GENESIS,
            "rule": _RULE,
            "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
            "rows": found.rows,
            "series": found.series,
            "forecasts": found.forecasts,
            "scores": found.scores,
            "problems": [{"seq": row, "problem": sentence} for row, sentence in found.problems],
        }
        write_text(building / "verify.json", json.dumps(summary, indent=2) + "\n")
    return summary


def _write_tables(record: Record, folder: Path, file_format: Format, head: tuple[int, str]) -> None:
    metadata = {"kronos.head.seq": str(head[0]), "kronos.head.hash": head[1], "kronos.rule": _RULE}
    with ExitStack() as stack:
        writers: dict[str, _Writer] = {}
        schemas = {name: schema.with_metadata(metadata) for name, schema in _TABLES.items()}
        for name, schema in schemas.items():
            path = folder / f"{name}.{file_format}"
            writer = pq.ParquetWriter(path, schema, compression="zstd") if file_format == "parquet" else None
            writers[name] = stack.enter_context(writer or pc.CSVWriter(path, schema))
        rows = (row for row in record.rows() if row.seq <= head[0])
        while chunk := list(islice(rows, _CHUNK)):
            lines: dict[str, list[dict[str, Any]]] = {name: [] for name in schemas}
            for row in chunk:
                for name, line in _lines(row):
                    lines[name].append(line)
            for name, schema in schemas.items():
                if lines[name]:
                    writers[name].write_table(pa.Table.from_pylist(lines[name], schema=schema))


def _lines(row: Row) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the lines of a row, with the names of their tables, whose schemas leave out what they lack."""
    key = {"seq": row.seq, "kind": row.kind, "series": row.series, "origin": row.origin}
    yield "rows", {**key, "body": row.body, "hash": row.hash}
    try:
        lines = list(_flat_lines(entry_of(row), key))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return  # the verification says so
    for name, line in lines:
        # A reason may quote a file's name that is no UTF-8, which the body escapes and a table cannot have.
        yield name, {field: printable(value) if isinstance(value, str) else value for field, value in line.items()}


def _flat_lines(entry: Entry, key: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(entry, ForecastEntry):
        for name, text in entry.paths.items():
            chances = {
                f"{event}{end}": number
                for event, by_contender in entry.probabilities.items()
                for end, number in zip(("", "_low", "_high"), by_contender.get(name, ()), strict=False)
            }
            paths = len(decode_paths(text, len(entry.times)))
            yield "forecasts", {**vars(entry), **key, "contender": name, "paths": paths, **chances}
    elif isinstance(entry, ScoreEntry):
        for name, scores in entry.scores.items():
            briers = {f"brier_{event}": number for event, number in scores["brier"].items()}
            increments = {f"increments_{step}": number for step, number in scores["increments"].items()}
            yield "scores", {**vars(entry), **entry.outcome, **key, "contender": name, **briers, **increments}
            for line in _steps(entry.candles, scores):
                yield "steps", {**key, "contender": name, **line}
    elif isinstance(entry, MissedEntry | UnresolvedEntry):
        yield "missed", {**vars(entry), **key}


def _steps(candles: Sequence[Sequence[Any]], scores: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for i, (candle, crps) in enumerate(zip(candles, scores["crps"], strict=True)):
        inside = {f"inside_{level}": flags[i] == "1" for level, flags in scores["inside"].items()}
        yield {"step": i + 1, "time": candle[0], "close": candle[4], "crps": crps, **inside}
