"""`QlibDataset`: a Qlib folder as the published pre-processing prepares it, and as the engine needs it.

Published pre-processing (``finetune/qlib_data_preprocess.py``): the fields open, high, low, close and volume of the
index members; amount = mean(open, high, low, close) · volume; rows with a missing value are dropped; instruments with
fewer than lookback + predict + 1 rows are left out; train, validation and test are overlapping spans of dates. Rows
are those on which an instrument belonged to the index, so a window may jump over years outside of it.

The engine needs more than these rows: a holding that leaves the index still has a price, shares are counted at the
prices of the exchange (``$factor``), and Qlib judges limits by the stored ``$change``. So the panel has all bars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from kronos.atomic import atomic_path, write_text
from kronos.backtest.market import FIELDS, MarketPanel, carried_forward
from kronos.backtest.universe import Universe
from kronos.candles import COLUMNS, PRICES, Candles
from kronos.errors import DataError, ParameterError
from kronos.formatting import expand_user, join_names, to_json
from kronos.intervals import Interval
from kronos.provenance import frame_digest, now_utc
from kronos.sources.qlib.layout import (
    FolderLabel,
    Frequency,
    MembershipSpans,
    code_folder,
    read_calendar,
    read_field,
    read_frequencies,
    read_instruments,
)
from kronos.typing import FloatArray

History = Literal["published", "full"]
Span = tuple[str, str]

DEFAULT_FOLDER = "~/.qlib/qlib_data/cn_data"
_STORED = (*FIELDS, "change")
_PUBLISHED = (*PRICES, "volume")  # a row that lacks one of these is dropped
_DAY = Interval.parse("1d")


@dataclass(frozen=True, slots=True)
class QlibPeriods:
    """Spans of dates, first and last inclusive; the defaults are the published ones, whose overlaps serve as history.

    Attributes:
        train: Training.
        validation: Selection of the weights.
        test: Rows that forecasts are made from.
        backtest: Trading days.
    """

    train: Span = ("2011-01-01", "2022-12-31")
    validation: Span = ("2022-09-01", "2024-06-30")
    test: Span = ("2024-04-01", "2025-06-05")
    backtest: Span = ("2024-07-01", "2025-06-05")

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test", "backtest"):
            start, end = getattr(self, name)
            try:
                valid = pd.Timestamp(start) <= pd.Timestamp(end)
            except (ValueError, TypeError, OverflowError):
                raise ParameterError(f"Invalid {name} {start} … {end}: write dates like 2024-01-31.") from None
            if not valid:
                raise ParameterError(f"Invalid {name} {start} … {end}: the end comes before the start.")


@dataclass(frozen=True, eq=False)
class QlibDataset:
    """A Qlib folder, prepared.

    Attributes:
        folder: The folder.
        market: The index, such as ``csi300``.
        periods: Spans of dates.
        panel: All bars of all that ever belonged to the index, with factors and membership by date.
        universe: Membership by date.
        rows: Prepared rows by instrument: open, high, low, close, volume, amount.
        change: The field ``$change`` on the panel [T, N]; None if the folder has none.
        benchmark: Close of the benchmark on the panel's dates; None if the folder does not have it.
        left_out: Why an instrument has no prepared rows.
        simulated: Whether candles are simulated, by the folder's label.
    """

    folder: Path
    market: str
    periods: QlibPeriods
    panel: MarketPanel
    universe: Universe
    rows: Mapping[str, pd.DataFrame]
    change: FloatArray | None = None
    benchmark: pd.Series | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    simulated: bool = False

    def candles(self, history: History = "published") -> dict[str, Candles]:
        """Candles to forecast from, by instrument.

        Args:
            history: ``published``: prepared rows of the test period only, so that the first forecast is a lookback
                after its beginning. ``full``: all bars up to each day, whether the instrument was a member or not.
        """
        if history not in ("published", "full"):
            raise ParameterError(f"Invalid history '{history}': choose 'published' or 'full'.")
        if history == "published":
            frames = {name: _between(rows, self.periods.test) for name, rows in self.rows.items()}
        else:
            frames = {name: self._bars(name) for name in self.rows}
        kept = {name: self._to_candles(name, frame) for name, frame in frames.items() if len(frame) > 1}
        if not kept:
            start, end = self.periods.test
            raise DataError(f"No instrument of {self.market} has rows from {start} to {end}: choose other dates.")
        return kept

    def part(self, name: Literal["train", "validation", "test"]) -> dict[str, pd.DataFrame]:
        """The prepared rows of one period, by instrument; instruments without any are left out."""
        span: Span = getattr(self.periods, name)
        parts = {code: _between(rows, span) for code, rows in self.rows.items()}
        return {code: rows for code, rows in parts.items() if len(rows)}

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``train.parquet``, ``validation.parquet`` and ``test.parquet`` (long tables) and ``dataset.json``.

        Raises:
            StorageError: If a file cannot be written.
        """
        target, written, parts = expand_user(folder), [], {}
        for name in ("train", "validation", "test"):
            rows = self.part(name)
            tables = [frame.reset_index().assign(instrument=code) for code, frame in rows.items()]
            columns = ["instrument", "timestamps", *COLUMNS]
            table = pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)
            path = target / f"{name}.parquet"
            with atomic_path(path) as temporary:
                table.to_parquet(temporary, index=False)
            written.append(path)
            parts[name] = {"instruments": len(rows), "rows": len(table), "sha256": frame_digest(table)}
        document = {
            "kind": "kronos qlib dataset",
            "folder": str(self.folder),
            "market": self.market,
            "periods": {name: list(getattr(self.periods, name)) for name in (*parts, "backtest")},
            "parts": parts,
            "left_out": dict(self.left_out),
            "simulated": self.simulated,
            "created": now_utc(),
        }
        write_text(target / "dataset.json", to_json(document) + "\n")
        return [*written, target / "dataset.json"]

    def benchmark_returns(self) -> FloatArray | None:
        """Daily returns of the benchmark on the panel's dates [T], NaN before its closes and after them; None without.

        A day without a close within them has a return of 0; the next close makes up for it.
        """
        if self.benchmark is None:
            return None
        closes = self.benchmark.to_numpy(np.float64)
        known = carried_forward(closes[:, None])[:, 0]
        last = np.flatnonzero(~np.isnan(closes))[-1:]
        known[int(last[0]) + 1 if len(last) else 0 :] = np.nan
        returns = np.full(len(known), np.nan)
        returns[1:] = known[1:] / known[:-1] - 1
        return returns

    def _bars(self, name: str) -> pd.DataFrame:
        """All complete bars of an instrument, with the published amount."""
        column = self.panel.instruments.index(name)
        fields = {one: getattr(self.panel, one)[:, column] for one in _PUBLISHED}
        return prepared_rows(self.panel.dates, fields)

    def _to_candles(self, name: str, frame: pd.DataFrame) -> Candles:
        return Candles(
            frame=frame,
            symbol=name,
            interval=_DAY,
            source=f"Qlib folder {self.folder.name} ({self.market})",
            simulated=self.simulated,
            has_volume=bool((frame["volume"] > 0).any()),
            has_amount=False,
        )


def read_qlib_dataset(
    folder: str | Path = DEFAULT_FOLDER,
    market: str = "csi300",
    periods: QlibPeriods = QlibPeriods(),
    *,
    lookback: int = 90,
    predict: int = 10,
    benchmark: str | None = "SH000300",
) -> QlibDataset:
    """Read a Qlib folder of daily bars, and prepare it as published.

    Args:
        folder: The folder.
        market: Name of the file in ``instruments/`` with the members and their dates.
        periods: Spans of dates; bars before the first training date and after the last test date are not read.
        lookback: Candles of history of a window.
        predict: Candles that a window predicts.
        benchmark: Code of the index; None for none.

    Raises:
        DataError: If it is not a Qlib folder, or no instrument has enough rows.
        ParameterError: If the folder has no daily calendar or no such market.
    """
    path = expand_user(folder)
    frequency = next((one for one in read_frequencies(path) if one.interval == _DAY), None)
    if frequency is None:
        raise ParameterError(f"{path} has no daily bars: a backtest of a Qlib folder needs calendars/day.txt.")
    calendar = read_calendar(path, frequency)
    members = read_instruments(path, market)
    first = min(pd.Timestamp(span[0]) for span in (periods.train, periods.validation, periods.test))
    last = max(pd.Timestamp(span[1]) for span in (periods.test, periods.backtest))
    rows = calendar.slice_indexer(first, last)
    if rows.start >= rows.stop:
        raise DataError(
            f"{path} has no days from {first:%Y-%m-%d} to {last:%Y-%m-%d}; it has {calendar[0]:%Y-%m-%d} to "
            f"{calendar[-1]:%Y-%m-%d}."
        )
    dates = pd.DatetimeIndex(calendar[rows], name="timestamps")
    arrays = _read_arrays(path, frequency, tuple(members), len(calendar))
    arrays = {name: values[rows] for name, values in arrays.items()}
    universe = Universe(market, {code: _span_texts(spans) for code, spans in members.items()})
    change = arrays.pop("change")
    membership = universe.members(dates, tuple(members))
    panel = MarketPanel(dates, tuple(members), **arrays, membership=membership, markets=None, interval=_DAY)
    prepared, left_out = {}, {}
    least = lookback + predict + 1
    for column, code in enumerate(panel.instruments):
        assert panel.membership is not None
        fields = {name: np.where(panel.membership[:, column], arrays[name][:, column], np.nan) for name in _PUBLISHED}
        table = prepared_rows(dates, fields)
        if len(table) < least:
            left_out[code] = f"{len(table)} complete rows; {least} are needed"
        else:
            prepared[code] = table
    if not prepared:
        raise DataError(
            f"No instrument of {market} has {least} complete rows: {join_names(list(left_out))} have fewer."
        )
    return QlibDataset(
        folder=path,
        market=market,
        periods=periods,
        panel=panel,
        universe=universe,
        rows=prepared,
        change=None if np.isnan(change).all() else change,
        benchmark=None if benchmark is None else _read_benchmark(path, frequency, benchmark, calendar, dates),
        left_out=left_out,
        simulated=FolderLabel.read(path).simulated,
    )


def prepared_rows(dates: pd.DatetimeIndex, fields: Mapping[str, FloatArray]) -> pd.DataFrame:
    """The published rows of one instrument: complete ones, with amount = mean(open, high, low, close) · volume.

    Args:
        dates: The days. [T]
        fields: open, high, low, close and volume, NaN where missing. [T] each
    """
    values = np.column_stack([fields[name] for name in _PUBLISHED])
    complete = np.flatnonzero(~np.isnan(values).any(axis=1))
    values = values[complete]
    amount = values[:, :4].mean(axis=1) * values[:, 4]
    index = pd.DatetimeIndex(dates[complete], name="timestamps")
    return pd.DataFrame(np.column_stack([values, amount]), index=index, columns=list(COLUMNS))


def _read_arrays(folder: Path, frequency: Frequency, codes: tuple[str, ...], days: int) -> dict[str, FloatArray]:
    """The stored fields of all codes over the whole calendar [days, N]; NaN where a field or bar is missing."""
    arrays = {name: np.full((days, len(codes)), np.nan) for name in _STORED}
    for column, code in enumerate(codes):
        for name in _STORED:
            path = code_folder(folder, code) / f"{name}.{frequency.name}.bin"
            if path.is_file():
                start, values = read_field(path, days)
                arrays[name][start : start + len(values), column] = values
    # Without a close there is no bar; a price of 0 is how some folders write a missing one.
    for name in PRICES:
        arrays[name][~(arrays[name] > 0)] = np.nan
    no_bar = np.isnan(arrays["close"])
    for name in FIELDS:
        arrays[name][no_bar] = np.nan
    return arrays


def _read_benchmark(
    folder: Path, frequency: Frequency, code: str, calendar: pd.DatetimeIndex, dates: pd.DatetimeIndex
) -> pd.Series | None:
    path = code_folder(folder, code) / f"close.{frequency.name}.bin"
    if not path.is_file():
        return None
    start, values = read_field(path, len(calendar))
    return pd.Series(values, index=calendar[start : start + len(values)]).reindex(dates)


def _span_texts(spans: MembershipSpans) -> tuple[Span, ...]:
    """Spans of seconds since 1970 as dates."""
    starts, ends = (pd.to_datetime(times, unit="s") for times in (spans.starts, spans.ends))
    return tuple((f"{start:%Y-%m-%d}", f"{end:%Y-%m-%d}") for start, end in zip(starts, ends, strict=True))


def _between(rows: pd.DataFrame, span: Span) -> pd.DataFrame:
    return rows.loc[span[0] : span[1]]


__all__ = ["DEFAULT_FOLDER", "History", "QlibDataset", "QlibPeriods", "prepared_rows", "read_qlib_dataset"]
