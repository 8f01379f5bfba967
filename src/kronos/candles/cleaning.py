"""Cleaning of a raw table: each dropped row and each changed value is reported as a finding.

Steps: parse numbers and times, drop unusable rows (more than `MAX_UNUSABLE` of them is an error), sort, merge repeated
times, repair highs and lows, fill volume and amount. Rows keep their original position until the end, for the messages.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from kronos.candles.aliases import in_comma_locale
from kronos.candles.amounts import check_amounts
from kronos.candles.columns import COLUMNS, PRICES, TIME
from kronos.candles.findings import Finding, FindingCollector
from kronos.candles.number_format import (
    NumberFormat,
    bare_numbers,
    infer_formats,
    is_missing,
    may_be_grouped,
    parse_floats,
    parse_numbers,
    to_float_array,
)
from kronos.candles.read_options import ReadOptions
from kronos.candles.readers import RawTable
from kronos.candles.repairs import check_continuity, repair_prices
from kronos.candles.time_of_day import join_clock
from kronos.candles.timestamps import ParsedTimes, parse_timestamps
from kronos.candles.usable_rows import MAX_UNUSABLE, cell_text, find_forming_rows, find_usable_rows
from kronos.errors import DataError
from kronos.formatting import Message, truncate
from kronos.typing import BoolArray, FloatArray, IntArray

_WARNINGS = ("several-offsets",)
MAX_COPIES = 0.05  # share of times that may occur twice before two copies are suspected


def clean(table: RawTable, options: ReadOptions) -> tuple[pd.DataFrame, list[Finding], pd.DatetimeIndex]:
    """Clean a table.

    Args:
        table: The source.
        options: What the caller knows about the source.

    Returns:
        The frame of six float64 columns under a strictly increasing DatetimeIndex, the findings, and the times whose
        rows were all dropped.

    Raises:
        DataError: If times or numbers cannot be parsed, or too many rows are unusable.
    """
    findings = FindingCollector(table.rows)
    for note in table.notes:
        findings.add(note.code, note.severity, note.message)
    _report_columns(table, findings)
    values = _parse_columns(table, options, findings)
    amount = check_amounts(values, table, findings)
    times = _parse_times(table, options)
    for code, message in times.notes:
        findings.add(code, "warning" if code in _WARNINGS else "info", message)
    keep, idle = find_usable_rows(table, times.index, values, findings)
    forming = find_forming_rows(table, times.index, keep, findings)
    keep &= ~forming
    dropped = times.index[~keep & ~idle & ~forming & np.asarray(times.index.notna())].unique().sort_values()
    frame = pd.DataFrame(values[keep], columns=list(COLUMNS), index=times.index[keep].rename(TIME))
    frame, positions = _sort_and_merge(frame, np.flatnonzero(keep), findings)
    repair_prices(frame, positions, findings)
    if not {"open", "close"} & table.layout.given:
        check_continuity(frame, findings)
    _fill_volume(frame, positions, table, findings, amount=amount)
    assert isinstance(frame.index, pd.DatetimeIndex)
    return frame, findings.findings, dropped[~dropped.isin(frame.index)]


def _report_columns(table: RawTable, findings: FindingCollector) -> None:
    """Report units of columns, and columns that resemble one that was not found."""
    layout = table.layout
    for canonical, unit in layout.units.items():
        if canonical in PRICES and canonical != "close":
            continue  # one sentence for the four
        label = truncate(layout.time if canonical == TIME else layout.prices[canonical])
        if canonical == TIME:
            message = Message(
                "clock-column",
                "Column '{label}' of {name} names a clock; its times are kept as they are written.",
                label=label,
                name=table.rows.name,
            )
        else:
            message = Message(
                "column-unit",
                "Column '{label}' of {name} is in {unit}; its values are kept as they are.",
                label=label,
                name=table.rows.name,
                unit=truncate(unit),
            )
        findings.add("column-unit", "info", message)
    for canonical, near in layout.near.items():
        quoted = truncate(near)
        findings.add(
            "unused-column",
            "warning" if canonical == "volume" else "info",
            Message(
                "unused-column",
                "Column '{label}' of {name} was not read as {column}; if it is, give columns={'{column}': '{label}'}.",
                label=quoted,
                name=table.rows.name,
                column=canonical,
            ),
        )


def _parse_columns(table: RawTable, options: ReadOptions, findings: FindingCollector) -> FloatArray:
    """The six columns as floats, NaN if missing. [rows, 6]."""
    out = np.full((len(table.frame), 6), np.nan)
    columns = {c: table.frame[label] for c, label in table.layout.prices.items()}
    if table.layout.ticks is not None:
        columns["ticks"] = table.frame[table.layout.ticks]
    parsed, text = {}, {}
    for column, raw in columns.items():
        if pd.api.types.is_numeric_dtype(raw.dtype) and not pd.api.types.is_complex_dtype(raw.dtype):
            parsed[column] = to_float_array(raw.astype("Float64"))
        else:
            text[column] = raw.astype("string").str.strip() if _all_text(raw) else raw.map(cell_text).astype("string")
            commas = bool(text[column].str.contains(",", regex=False).mean() > 0.5)
            parsed[column] = np.full(len(out), np.nan) if commas else parse_floats(text[column])
    parsed |= _parse_notations(text, parsed, table, options, findings)
    for column, cells in text.items():
        _report_unreadable(column, cells, parsed[column], table, findings)
    for i, column in enumerate(COLUMNS):
        if column in parsed:
            out[:, i] = parsed[column]
    if "ticks" in parsed and not (out[:, 4] > 0).any():
        # MetaTrader exports both, and markets without an exchange have no traded volume.
        out[:, 4] = parsed["ticks"]
        message = Message(
            "tick-volume",
            "Column {column} of {name} is 0 throughout; the volume was read from {ticks}.",
            column=truncate(table.layout.prices["volume"]),
            name=table.rows.name,
            ticks=truncate(table.layout.ticks),
        )
        findings.add("tick-volume", "info", message)
    return out


def _parse_notations(
    text: dict[str, pd.Series],
    plain: dict[str, FloatArray],
    table: RawTable,
    options: ReadOptions,
    findings: FindingCollector,
) -> dict[str, FloatArray]:
    """The columns of text that are not in the plain notation of numbers; none if all are."""
    given = None
    if options.decimal is not None or options.thousands is not None:
        decimal = options.decimal or ("," if options.thousands == "." else ".")
        given = NumberFormat(decimal, options.thousands or ("," if decimal == "." else "."))
    odd = {
        column: bool((np.isnan(plain[column]) & ~np.asarray(is_missing(cells), dtype=np.bool_)).any())
        for column, cells in text.items()
    }
    if (
        given is None
        and not any(odd.values())
        and not (table.from_text and any(may_be_grouped(cells, plain[column]) for column, cells in text.items()))
    ):
        return {}
    bare = {column: bare_numbers(cells.mask(is_missing(cells))) for column, cells in text.items()}
    formats, notes = infer_formats(
        bare,
        given,
        table.rows.name,
        comma_locale=in_comma_locale(table.layout.labels),
        dates_only=_has_dates_only(table),
        points_usual=table.delimiter == "," or "<" in str(table.layout.labels),  # MetaTrader writes tabs and points
    )
    for note in notes:
        findings.add(note.code, note.severity, note.message)
    _report_units(text, bare, table, findings)
    return {
        column: parse_numbers(bare[column], notation)
        for column, notation in formats.items()
        if odd[column] or notation.decimal == "," or given is not None
    }


def _has_dates_only(table: RawTable) -> bool:
    """Whether times are dates without a time of day, judged by the first one."""
    if table.layout.time is None or table.layout.clock is not None or not len(table.frame):
        return False
    first = str(table.frame[table.layout.time].iloc[0]).strip()
    return ":" not in first and re.fullmatch(r"\d{9,}(\.\d*)?", first) is None


def _report_units(
    text: dict[str, pd.Series], bare: dict[str, pd.Series], table: RawTable, findings: FindingCollector
) -> None:
    """Report the unit in a volume's cells, and an abbreviation that leaves too few digits, such as 0.000001T."""
    cells = text.get("volume")
    if cells is None or not len(cells):
        return
    units = cells[~is_missing(cells)].str.extract(r"([手股张張株주])$", expand=False).fillna("")
    shares = units.value_counts(normalize=True)
    if (shares > MAX_UNUSABLE).sum() > 1:
        raise DataError(
            f"The volumes of {table.rows.name} are in several units, such as "
            f"'{truncate(cells[units.index[units == shares.index[0]][0]])}' and "
            f"'{truncate(cells[units.index[units == shares.index[1]][0]])}'; write them in one."
        )
    unit = re.search(r"[手股张張株주]$", str(cells.iloc[0]))
    if unit:
        message = Message(
            "volume-unit",
            "The volume of {name} is in {unit}; its values are kept in this unit.",
            name=table.rows.name,
            unit=unit[0],
        )
        findings.add("column-unit", "info", message)
    scaled = bare["volume"].str.extract(r"^(\d*\.?\d*)e(\d+)$")
    values = pd.to_numeric(scaled[0], errors="coerce")
    if len(values) and values.notna().mean() > 0.5 and values.lt(1e-4).mean() > 0.5:
        findings.add(
            "rounded-volume",
            "warning",
            Message(
                "rounded-volume",
                "The volume of {name} is rounded to a few digits ('{example}'), so most of it is lost; "
                "export it in full.",
                name=table.rows.name,
                example=truncate(cells.iloc[0]),
            ),
        )


def _report_unreadable(
    column: str, cells: pd.Series, values: FloatArray, table: RawTable, findings: FindingCollector
) -> None:
    """Report cells that are neither numbers nor missing.

    Raises:
        DataError: If they are many.
    """
    unreadable = np.flatnonzero(np.isnan(values))
    if not len(unreadable):
        return
    unreadable = unreadable[~np.asarray(is_missing(cells.iloc[unreadable]), dtype=np.bool_)]
    if not len(unreadable):
        return
    cell = truncate(cells.iloc[unreadable[0]])
    if len(unreadable) > max(1, MAX_UNUSABLE * len(cells)):
        row = f"{table.rows.name}, {table.rows.word} {table.rows.number(unreadable[0])}"
        raise DataError(
            Message(
                "not-numbers",
                "{place}: {column} '{cell}' is not a number; correct the {count} such cell(s).",
                place=row,
                column=column,
                cell=cell,
                count=len(unreadable),
            )
        )
    message = Message(
        "unreadable-number",
        "{count} {column} value(s) are not numbers, such as '{cell}' ({where}), and count as missing.",
        column=column,
        cell=cell,
    )
    findings.add("unreadable-number", "warning", message, unreadable)


def _all_text(raw: pd.Series) -> bool:
    return pd.api.types.infer_dtype(raw, skipna=True) == "string"


def _parse_times(table: RawTable, options: ReadOptions) -> ParsedTimes:
    layout, name = table.layout, table.rows.name
    if layout.time is None:
        index = table.frame.index
        if isinstance(index, pd.RangeIndex | pd.MultiIndex) or not len(index) or table.rows.first != 0:
            raise DataError(
                Message(
                    "no-time-column",
                    "{name} has no time column; call it timestamps, or map it with columns={'timestamps': '…'}.",
                    name=name,
                )
            )
        column = index.to_series().reset_index(drop=True)
        return parse_timestamps(column, options.timezone, name, date_format=options.date_format, now=options.now)
    column = table.frame[layout.time].reset_index(drop=True)
    date_format = options.date_format
    if layout.clock is not None:
        if date_format is not None and not re.search("%[HIMSTXcp]", date_format):
            # The notation is that of the dates; times of day are read as usual.
            parsed = parse_timestamps(column, None, name, date_format=date_format, now=options.now).index
            column, date_format = pd.Series(parsed.strftime("%Y-%m-%d")), None
        clock = table.frame[layout.clock].reset_index(drop=True)
        column = join_clock(column, clock) if date_format is None else column.astype(str) + " " + clock.astype(str)
    return parse_timestamps(column, options.timezone, name, date_format=date_format, now=options.now)


def _sort_and_merge(
    frame: pd.DataFrame, positions: IntArray, findings: FindingCollector
) -> tuple[pd.DataFrame, IntArray]:
    """Sort by time; of rows with the same time, keep the last one in the source."""
    name = findings.rows.name
    stamps = frame.index.as_unit("ns").asi8  # type: ignore[attr-defined]
    back = np.flatnonzero(np.diff(stamps) < 0)
    if len(back) and len(back) == np.count_nonzero(np.diff(stamps)):
        findings.add(
            "newest-first",
            "info",
            Message("newest-first", "{name} was sorted from new to old and has been reversed.", name=name),
        )
    elif len(back):
        message = Message("unsorted-times", "Times go backwards {count} time(s) ({where}); the rows were sorted.")
        findings.add("unsorted-times", "warning", message, positions[back + 1])
    order = np.argsort(stamps, kind="stable")
    frame, positions, stamps = frame.iloc[order], positions[order], stamps[order]
    last = np.append(np.diff(stamps) != 0, True)
    repeated = np.flatnonzero(~last)
    if len(repeated):
        cells = np.nan_to_num(frame.to_numpy(), nan=-1.0)
        other = np.any(cells[repeated, :4] != cells[repeated + 1, :4], axis=1)
        if other.sum() > max(1, MAX_UNUSABLE * len(last)):
            raise DataError(
                _describe_conflict(frame.index[repeated[other][0]], other, positions[repeated[other]], findings)
            )
        same = np.all(cells[repeated] == cells[repeated + 1], axis=1)
        if len(repeated) >= MAX_COPIES * last.sum():
            span = f"{frame.index[repeated[0]]} to {frame.index[repeated[-1]]}"
            message = Message(
                "duplicate-session",
                "{count} times from {span} occur more than once: two copies seem to be joined ({where}).",
                span=span,
            )
            findings.add("duplicate-session", "warning", message, positions[repeated])
        if same.any():
            message = Message("duplicate-row", "{count} row(s) that repeat another were merged ({where}).")
            findings.add("duplicate-row", "info", message, positions[repeated[same]])
        if not same.all():
            message = Message(
                "duplicate-time", "{count} row(s) with the time of a later row but other values were dropped ({where})."
            )
            findings.add("duplicate-time", "warning", message, positions[repeated[~same]])
    if last.sum() < 2:
        raise DataError(
            Message(
                "too-few-times",
                "{name} has {count} distinct time(s); at least 2 candles are needed.",
                name=name,
                count=int(last.sum()),
            )
        )
    return frame[last].copy(), positions[last]


def _describe_conflict(time: pd.Timestamp, other: BoolArray, positions: IntArray, findings: FindingCollector) -> str:
    """The refusal of rows with the same time but other prices, with likely causes."""
    rows = findings.rows
    return Message(
        "conflicting-rows",
        "{count} rows of {name} have the time of another row but other prices, first {time} in "
        "{word} {row}. If they are of several instruments, name the column that tells them apart "
        "with columns={'symbol': '…'} or split the file; if the times lost their time of day or "
        "were rounded, export them in full; if two intervals are joined, split them.",
        count=int(other.sum()),
        name=rows.name,
        time=f"{time}",
        word=rows.word,
        row=rows.number(int(positions[0])),
    )


def _fill_volume(
    frame: pd.DataFrame, positions: IntArray, table: RawTable, findings: FindingCollector, *, amount: bool
) -> None:
    """Fill missing volume and amount; without volume both are 0, as in the models' training data."""
    name, labels = findings.rows.name, table.layout.prices
    if "volume" not in labels:
        message = Message("no-volume", "{name} has no volume; volume and amount are 0.", name=name)
        if "amount" in labels:
            label = truncate(labels["amount"])
            message = Message(
                "amount-without-volume",
                "{name} has no volume, so '{label}' was ignored; if that is the volume, give "
                "columns={'volume': '{label}'}.",
                name=name,
                label=label,
            )
        findings.add("no-volume", "warning" if "amount" in labels else "info", message)
        frame[["volume", "amount"]] = 0.0
        return
    _fill(frame, "volume", positions, findings)
    if amount:
        _fill(frame, "amount", positions, findings)
    else:
        # Volume is valued at the mean price of the candle, as in the models' training data.
        frame["amount"] = np.clip(frame["volume"] * frame[list(PRICES)].mean(axis=1), 0.0, np.finfo(np.float64).max)
        findings.add(
            "no-amount",
            "info",
            Message("no-amount", "{name} has no amount; it was set to volume × mean price.", name=name),
        )
    idle = np.asarray(frame["volume"] == 0)
    if idle.all():
        findings.add(
            "zero-volume", "warning", Message("zero-volume", "The volume of {name} is 0 throughout.", name=name)
        )
    elif idle.any():
        edges = np.flatnonzero(np.diff(np.concatenate([[0], idle.astype(np.int8), [0]])))
        longest = int((edges[1::2] - edges[::2]).max())
        message = Message(
            "zero-volume-rows",
            "{count} row(s) have zero volume, at most {longest} in a row ({where}).",
            longest=longest,
        )
        findings.add("zero-volume", "info", message, positions[idle])


def _fill(frame: pd.DataFrame, column: str, positions: IntArray, findings: FindingCollector) -> None:
    values = frame[column].to_numpy(copy=True)
    missing, negative = ~np.isfinite(values), values < 0
    if missing.any():
        message = Message("missing-values", "{count} missing {column} value(s) were set to 0 ({where}).", column=column)
        findings.add(f"missing-{column}", "warning", message, positions[missing])
    if (negative & ~missing).any():
        message = Message(
            "negative-values", "{count} negative {column} value(s) were set to 0 ({where}).", column=column
        )
        findings.add(f"negative-{column}", "warning", message, positions[negative & ~missing])
    frame[column] = np.where(missing | negative, 0.0, values)
