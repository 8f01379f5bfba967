"""Dialect of delimited text: its delimiter, the lines of its header, and where its rows begin and end.

The usual file (names of columns in the first line, as many cells in the others) is recognised from three lines.
Otherwise each delimiter is tried: the one is taken under which the rows at the beginning of the file have the same
number of cells, most of them numbers, below a line with names of price columns. Lines above the header (titles,
``sep=;``, tickers) and below the rows (sources, copyright) are left out and reported.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kronos.candles.columns import count_prices
from kronos.candles.findings import Note
from kronos.errors import DataError, ParameterError
from kronos.formatting import Message, truncate
from kronos.typing import BoolArray

WHITESPACE = r"\s+"
_DELIMITERS = (",", ";", "\t", "|")
_MIN_PRICES = 4
_TOP, _END = 200, 8  # lines at the beginning and at the end that are looked at
_HEAD_CHARS = 1 << 18
_CELL = re.compile(
    r"[\s$€£¥￥₩+\-−(]*\d[\d.,'’\s]*(?:e[+-]?\d+)?\s*(?:%|[A-Za-z\u4e00-\u9fff억만조円원$€£]{1,4})?\)?", re.IGNORECASE
)  # a number with a sign, currency or unit
_PRINTED_DAY, _PRINTED_CLOCK = r"\d{4}-\d{2}-\d{2}", r"\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[+-]\d{2}:\d{2})?"
_DOTS = re.compile(r"^\S{0,3}[ \t]*\.{2,3}(?:[ \t]+\.{2,3})+[ \t]*$", re.MULTILINE)
_MAX_JOINED = 20  # line breaks in quoted names of columns
_SEPARATOR_LINE = re.compile(r"\"?sep=(.)\"?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a text is divided into cells.

    Attributes:
        delimiter: One character, or `WHITESPACE`.
        labels: Names of the columns; empty if there is no header.
        first: Index of the line of the first row.
        footer: Number of lines below the last row that hold no cells of candles.
        skipped: Lines above the rows that are no header: titles.
        width: Number of cells of a row.
        header: Index of the line with the names of the columns; None if there is none.
    """

    delimiter: str
    labels: tuple[str, ...]
    first: int
    footer: int = 0
    skipped: tuple[str, ...] = ()
    width: int = 0
    header: int | None = None


def find_dialect(text: str, name: str, header: int | None = None) -> Dialect:
    r"""Find the dialect of a text.

    Args:
        text: The text, with ``\n`` between lines.
        name: Name of the file in messages.
        header: Number of the line with the names of the columns, from 1; 0 if there is none; None to find it.

    Raises:
        DataError: If the text has no rows, or the columns of several instruments.
        ParameterError: If there is no such line.
    """
    if header is None and (plain := _plain_dialect(text)) is not None:
        return plain
    lines = text[:_HEAD_CHARS].split("\n")[:_TOP]
    if header is not None and header > len(lines):
        raise ParameterError(f"header={header} is not among the first {len(lines)} lines of {name}; correct it.")
    blank = next((i for i, line in enumerate(lines) if line.strip()), 0)
    stated = _SEPARATOR_LINE.fullmatch(lines[blank].strip())
    start = blank + 1 if stated else blank
    if "<html" in text[:2000].lower() or "<!doctype" in text[:2000].lower():
        raise DataError(
            Message(
                "web-page",
                "{name} is a web page, not a table; download the file itself, or save the table as CSV.",
                name=name,
            )
        )
    candidates = [
        _Candidate(lines, start, delimiter, header)
        for delimiter in ([stated[1]] if stated else [*_DELIMITERS, WHITESPACE])
    ]
    best = max(candidates, key=lambda candidate: candidate.score)
    if best.delimiter == WHITESPACE and (_DOTS.search(text) or "..." in lines[best.header or 0].split()):
        raise DataError(
            f"{name} is a shortened print of a table: '...' stands for rows or columns that were left out. Save the "
            f"table with to_csv() or to_parquet()."
        )
    return best.dialect(text, name)


def _plain_dialect(text: str) -> Dialect | None:
    """The dialect of a file with names of columns in the first line, and as many cells in the second and last."""
    if text.startswith(("\n", " ", "\ufeff")):
        return None
    end = text.find("\n")
    if end < 0 or end > _HEAD_CHARS:
        return None
    top, second = text[:end], text[end + 1 : text.find("\n", end + 1)]
    last = text[max(end, len(text) - 4096) :].rstrip().rpartition("\n")[2]
    delimiter = max(_DELIMITERS, key=top.count)
    cells = top.count(delimiter)
    if (
        cells < _MIN_PRICES
        or '"' in second
        or '"' in last
        or {second.count(delimiter), last.count(delimiter)} != {cells}
    ):
        return None
    labels = split_line(top, delimiter)
    if count_prices(labels) < _MIN_PRICES or len(labels) != cells + 1 or not re.match(r"\s*\d", second):
        return None
    return Dialect(delimiter, tuple(labels), 1, width=cells + 1, header=0)


def split_line(line: str, delimiter: str) -> list[str]:
    """The cells of a line, without surrounding spaces and quotes."""
    if delimiter == WHITESPACE:
        return line.split()
    try:
        cells = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        cells = line.split(delimiter)
    return [cell.strip().strip('"').strip() for cell in cells]


def is_row(cells: Sequence[str]) -> bool:
    """Whether cells are those of a candle: at least four numbers, or empty but for a first cell with digits."""
    filled = [cell for cell in cells if cell]
    numbers = sum(bool(_CELL.fullmatch(cell)) for cell in filled)
    if numbers >= _MIN_PRICES:
        return 2 * numbers >= len(filled)
    return len(cells) > _MIN_PRICES and bool(filled) and any(c.isdigit() for c in filled[0]) and len(filled) == 1


class _Candidate:
    """A delimiter with what the text is under it."""

    def __init__(self, lines: Sequence[str], start: int, delimiter: str, header: int | None) -> None:
        self.delimiter = delimiter
        self._start = start
        self._lines = lines
        self._cells = [split_line(line, delimiter) for line in lines]
        self._given = header
        begin = header or start
        self.first = next((i for i in range(begin, len(lines)) if is_row(self._cells[i])), len(lines))
        self.header = self._find_header()
        if self.first == len(lines) and self.header is not None:
            self.first = next((i for i in range(self.header + 1, len(lines)) if lines[i].strip()), len(lines))
        self._rows = [cells for cells in self._cells[self.first :] if any(cells)]
        self._widths = Counter(map(len, self._rows))

    def _find_header(self) -> int | None:
        """The line with the names of the columns: that with most names of prices, else the last one of that width."""
        if self._given is not None:
            return self._given - 1 if self._given else None
        block = range(self._start, self.first)
        if not block:
            return None
        best = max(block, key=lambda i: count_prices(self._cells[i]))
        if count_prices(self._cells[best]):
            return best
        if self.first == len(self._lines):
            return self._start  # a table of something else
        widths = {len(cells) for cells in self._cells[self.first : self.first + 20]} or {len(self._cells[best])}
        unknown = [i for i in block if len(self._cells[i]) in widths and all(self._cells[i][1:])]
        return unknown[-1] if unknown else None

    @property
    def width(self) -> int:
        """Number of cells of most rows; that of the header if some rows have it."""
        if self.header is not None and self._widths.get(len(self._cells[self.header])):
            return len(self._cells[self.header])
        return max(self._widths, key=lambda width: (self._widths[width], width), default=0)

    @property
    def score(self) -> tuple[float, ...]:
        """Names of prices, then the share of rows of the same width; spaces only if nothing else divides the cells."""
        named = 0 if self.header is None else count_prices(self._cells[self.header])
        width = self.width
        fit = self._widths[width] / max(1, len(self._rows))
        rows = sum(map(is_row, self._rows[:20])) / max(1, len(self._rows[:20]))
        enough = float(width > _MIN_PRICES and rows > 0.5)
        plain = float(self.delimiter != WHITESPACE)
        cells = [cell for row in self._rows[:20] for cell in row if cell]
        # Under a wrong delimiter some cells hold another one, and are no numbers.
        whole = sum(not any(sign in cell for sign in ";\t|") for cell in cells) / max(1, len(cells))
        return named, enough, round(fit, 1), plain, round(whole, 1), rows, width

    def dialect(self, text: str, name: str) -> Dialect:
        """The dialect, with the lines that are no rows."""
        labels = () if self.header is None else tuple(self._cells[self.header])
        above = [i for i in range(self._start, self.first) if i != self.header and self._lines[i].strip()]
        labels, titles = self._read_block(labels, above, name)
        if self.header is None and len(titles) == 0 and self.first == len(self._lines) and text.strip():
            labels = tuple(self._cells[self._start])  # a line of something: its names are quoted in the message
        return Dialect(
            self.delimiter,
            labels,
            self.first,
            self._count_footer(text),
            tuple(self._lines[i] for i in titles),
            self.width,
            self.header,
        )

    def _read_block(self, labels: tuple[str, ...], above: list[int], name: str) -> tuple[tuple[str, ...], list[int]]:
        """Names of the columns with what yfinance writes around them: a line of tickers, and the name of the index."""
        titles = []
        for i in above:
            cells = [cell for cell in self._cells[i] if cell]
            if labels and cells and cells[0].lower() in ("ticker", "tickers") and len(cells) > _MIN_PRICES:
                tickers = sorted(set(cells[1:]))
                if len(tickers) > 1:
                    several = f"{len(tickers)} instruments ({truncate(tickers[0])}, {truncate(tickers[1])} …)"
                    raise DataError(f"{name} has the columns of {several}; save one instrument per file.")
            elif labels and i > (self.header or 0) and len(cells) == 1 and self._cells[i][0]:
                # The name of the index stands above its column, where pandas prints no other label.
                labels = (cells[0], *labels[len(labels) >= self.width :])
            else:
                titles.append(i)
        return labels, titles

    def _count_footer(self, text: str) -> int:
        """Number of lines below the last row that have another number of cells."""
        end = text[-_HEAD_CHARS:].rstrip("\n ").split("\n")[-_END:]
        footer = 0
        for line in reversed(end[1:]):
            cells = split_line(line, self.delimiter)
            if is_row(cells) or (cells and len(cells) == self.width and any(c.isdigit() for c in cells[0])):
                break
            footer += 1
        return footer if footer < len(end) - 1 else 0


def join_quoted_lines(text: str) -> tuple[str, int]:
    """The text with line breaks within quoted names of columns as spaces, and how many there were."""
    if '"' not in text[:_HEAD_CHARS].partition("\n")[0]:
        return text, 0
    end = 0
    for joined in range(_MAX_JOINED):
        end = text.find("\n", end + 1)
        head = text[: end if end >= 0 else len(text)]
        if head.count('"') % 2 == 0:
            return (head.replace("\n", " ") + text[len(head) :], joined) if joined else (text, 0)
        if end < 0:
            break
    return text, 0


def label_print(labels: Sequence[str], frame: pd.DataFrame) -> list[str] | None:
    """Labels of a frame as pandas prints it: its index has no label, and times with a space are two cells.

    Args:
        labels: Names in the header, fewer than cells.
        frame: The cells under the labels 0, 1, 2 and so on.

    Returns:
        The labels; None if this is no print of a frame.
    """
    head = [frame[i].head(_TOP).astype(str) for i in frame.columns]
    rest, at = list(labels), 0
    full: list[str] = []
    if head[0].tolist() == [str(i) for i in range(len(head[0]))]:
        full, at = ["row number"], 1
    if not head[at].str.fullmatch(_PRINTED_DAY).all():
        return None
    if rest and rest[0].lower() in ("date", "datetime", "time", "timestamp", "timestamps", "ds", "index"):
        rest.pop(0)
    clock = bool(head[at + 1].str.fullmatch(_PRINTED_CLOCK).all())
    full += ["date", "time"] if clock else ["timestamps"]
    return [*full, *rest] if len(full) + len(rest) == frame.shape[1] else None


def find_short_rows(frame: pd.DataFrame, body: str, dialect: Dialect) -> BoolArray:
    """Which rows have fewer cells than the header, or than most rows if there is none; blank ones are not. [n]."""
    short = np.zeros(len(frame), dtype=np.bool_)
    filled = np.zeros(len(frame), dtype=np.bool_)
    for column in frame.columns:
        filled |= np.asarray(frame[column].str.strip() != "", dtype=np.bool_)
    suspects = np.flatnonzero(filled & np.asarray(frame.iloc[:, -1] == "", dtype=np.bool_))
    lines = body.removesuffix("\n").split("\n") if len(suspects) else []
    if len(lines) != len(frame):
        return short  # no row is short, or cells contain line breaks
    needed = len(dialect.labels) or dialect.width
    while needed and dialect.labels and not dialect.labels[needed - 1]:
        needed -= 1  # the header ends with delimiters
    for i in suspects.tolist():
        line = lines[i]
        plain = '"' not in line and dialect.delimiter != WHITESPACE
        cells = line.count(dialect.delimiter) + 1 if plain else len(split_line(line, dialect.delimiter))
        short[i] = cells < needed
    return short


def join_split_numbers(frame: pd.DataFrame, labels: list[str], name: str) -> tuple[pd.DataFrame, Note]:
    """Join numbers with decimal commas that were divided at their commas, as in ``2024-01-02,148,06,148,69``.

    Args:
        frame: The cells, more of them than labels. [n, width]
        labels: Names of the columns, the first of them the times.
        name: Name of the file in messages.

    Raises:
        DataError: If it is not plain which cells belong together.
    """
    extra = frame.shape[1] - len(labels)
    filled = frame.iloc[:, 1:].map(lambda cell: bool(re.fullmatch(r"-?\d+", str(cell))))
    numbers = len(labels) - 1
    if bool(filled.to_numpy().mean() > 0.95) and extra in (4, numbers) and numbers >= 4:
        split = {0: frame[0]}
        at = 1
        for i in range(1, len(labels)):
            parts = 2 if i <= extra else 1
            split[i] = frame[at] if parts == 1 else frame[at] + "." + frame[at + 1]
            at += parts
        joined = pd.DataFrame(split)
        if all(bool(joined[i].str.fullmatch(r"-?[1-9]\d{0,2}\.\d{3}").all()) for i in range(1, min(extra, 4) + 1)):
            example = str(joined[1].iloc[0])
            raise DataError(
                Message(
                    "unquoted-commas",
                    "The numbers of {name} contain commas, which also separate its cells: {written} may be "
                    "{example} or {whole}. Quote them, or separate the cells with semicolons.",
                    name=name,
                    written=example.replace(".", ","),
                    example=example,
                    whole=example.replace(".", ""),
                )
            )
        message = Message(
            "joined-commas",
            "The numbers of {name} have decimal commas, which also separate its cells; they were joined again.",
            name=name,
        )
        return joined, Note("number-notation", "warning", message)
    raise DataError(
        Message(
            "more-cells-than-labels",
            "The rows of {name} have {cells} cells, but the header has {labels}; quote numbers with "
            "commas, name each column in the header, or give its line as header=.",
            name=name,
            cells=frame.shape[1],
            labels=len(labels),
        )
    )
