"""Histories and tables that the browser's package is tested with; see `golden.browser_cases`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos.calendars import future_times
from kronos.calendars.future import market_of
from kronos.candles.io import load_candles
from kronos.candles.read_options import ReadOptions
from kronos.errors import KronosError
from kronos.intervals import Interval
from kronos.preprocessing import time_features

NOW = pd.Timestamp("2026-06-01")
_ROLES = ("timestamps", "open", "high", "low", "close", "volume")
_GAPS = ("gaps",)  # findings that take the calendars of exchanges
HORIZON = 9


def _milliseconds(index: pd.DatetimeIndex) -> list[int]:
    naive = index if index.tz is None else index.tz_localize(None)
    return (naive.as_unit("ns").asi8 // 10**6).tolist()


def _histories() -> Iterator[tuple[str, pd.DatetimeIndex, str, str | None, bool]]:
    """Name, times, interval, calendar to pass, and whether only Python detects the calendar."""

    def grid(start: str, periods: int, freq: str, tz: str | None = None) -> pd.DatetimeIndex:
        return pd.date_range(start, periods=periods, freq=freq, tz=tz)

    hourly = grid("2024-03-28 05:00", 120, "1h")
    yield "24/7 hourly", hourly, "1h", None, False
    yield "24/7 hourly in UTC", hourly.tz_localize("UTC"), "1h", None, False
    yield "24/7 hourly with an offset", grid("2024-03-28 05:00", 90, "1h", "UTC+05:30"), "1h", None, False
    yield "24/7 without weekend", grid("2024-03-25 05:00", 30, "15min"), "15m", None, False
    yield "24/7 with gaps", hourly.delete([3, 4, 50, 51, 90]), "1h", None, False
    yield "24/7 four hours", grid("2024-01-30 00:00", 60, "4h", "UTC"), "4h", None, False
    yield "24/7 daily", grid("2024-02-01", 50, "1D"), "1d", None, False
    yield "24/7 daily in UTC", grid("2024-02-01", 50, "1D", "UTC"), "1d", None, False
    eastern = grid("2024-02-15", 60, "1D", "Asia/Shanghai").tz_convert("UTC")
    yield "24/7 daily at midnight of Shanghai", eastern, "1d", None, False
    yield "24/7 two days", grid("2024-02-01", 20, "2D"), "2d", None, False
    yield "24/7 named", grid("2024-03-25 05:00", 3, "1h"), "1h", "crypto", False
    weekdays = grid("2023-01-02", 40, "B")
    yield "weekdays", weekdays, "1d", None, False
    yield "weekdays at a time of day", weekdays + pd.Timedelta(hours=16), "1d", None, False
    yield "weekdays, four", grid("2023-01-03", 4, "B"), "1d", None, False
    year = grid("2022-10-03", 290, "B")
    yield "weekdays of a year", year, "1d", None, False
    yield "weekdays of a year before Christmas", grid("2022-02-01", 232, "B"), "1d", None, False
    yield "weekdays with holidays", weekdays.delete([0, 10, 33]), "1d", None, True
    yield "weekdays with holidays as inferred", weekdays.delete([0, 10, 33]), "1d", "inferred", False
    yield "Sunday to Thursday as inferred", grid("2023-01-01", 60, "1D")[np.arange(60) % 7 < 5], "1d", "auto", False
    sessions = pd.DatetimeIndex(
        [day + pd.Timedelta(minutes=570 + 30 * i) for day in grid("2024-02-26", 25, "B") for i in range(13)]
    )
    yield "sessions", sessions, "30m", None, True
    yield "sessions as inferred", sessions, "30m", "inferred", False
    yield (
        "sessions of New York in UTC as inferred",
        sessions.tz_localize("America/New_York").tz_convert("UTC"),
        "30m",
        ("inferred"),
        False,
    )
    yield "half a week as inferred", sessions[:40], "30m", "inferred", False
    yield "always open as inferred", hourly.tz_localize("UTC"), "1h", "inferred", False
    yield "weeks", grid("2023-01-02", 30, "7D"), "1w", None, False
    yield "weeks on Fridays, two", grid("2023-01-06", 30, "14D"), "2w", None, False
    yield "months", grid("2022-01-01", 20, "MS"), "1mo", None, False
    yield "ends of months", grid("2022-01-31", 20, "ME"), "1mo", None, False


def calendar_cases() -> list[dict[str, Any]]:
    """Histories with the future times, calendar features and market that Python finds."""
    cases = []
    for name, index, text, calendar, refused in _histories():
        interval = Interval.parse(text)
        future = future_times(index, interval, HORIZON, calendar)
        offset = None if index.tz is None else int(index[-1].utcoffset().total_seconds() // 60)
        cases.append(
            {
                "name": name,
                "wall": _milliseconds(index),
                "offset": offset,
                "interval": {"count": interval.count, "unit": interval.unit},
                "given": calendar,
                "refused": refused,
                "future": _milliseconds(future.times),
                "calendar": future.calendar,
                "basis": future.basis,
                "note": future.note,
                "clockNote": future.clock.note,
                "market": market_of(index, interval, calendar),
                "known": time_features(future.clock.local(index[-5:])).ravel().tolist(),
                "ahead": time_features(future.clock.local(future.times)).ravel().tolist(),
            }
        )
    return cases


def _prices(rows: int = 24, *, start: float = 100.0) -> np.ndarray:
    """Simulated candles: open, high, low, close, volume. [rows, 5]."""
    generator = np.random.default_rng(rows)
    closes = start + np.cumsum(0.01 * start * generator.standard_normal(rows))
    opens = np.concatenate(([start], closes[:-1]))
    highs = np.maximum(opens, closes) + 0.004 * start
    lows = np.minimum(opens, closes) - 0.004 * start
    return np.column_stack((opens, highs, lows, closes, 1000 * generator.random(rows) + 900))


def _table(
    header: str = "Date,Open,High,Low,Close,Volume",
    *,
    rows: int = 24,
    times: list[str] | None = None,
    digits: int = 2,
    start: float = 100.0,
    sign: str = ",",
    columns: int = 5,
) -> str:
    """A table of simulated candles as text."""
    index = pd.date_range("2024-01-30 22:00", periods=rows, freq="1h")
    stamps = times or [str(time) for time in index]
    cells = [[f"{value:.{digits}f}" for value in row[:columns]] for row in _prices(rows, start=start)]
    lines = [header.replace(",", sign), *(sign.join([stamp, *row]) for stamp, row in zip(stamps, cells, strict=True))]
    return "\n".join(lines) + "\n"


def _replace_line(text: str, number: int, line: str) -> str:
    lines = text.split("\n")
    lines[number - 1] = line
    return "\n".join(lines)


def _replace_cell(text: str, number: int, column: int, cell: str) -> str:
    cells = text.split("\n")[number - 1].split(",")
    cells[column] = cell
    return _replace_line(text, number, ",".join(cells))


def _stamps(freq: str, form: str | None = None, rows: int = 24, start: str = "2024-01-30 22:00") -> list[str]:
    index = pd.date_range(start, periods=rows, freq=freq)
    return [time.strftime(form) if form else str(time) for time in index]


_PLAIN = _table()
_LINES = _PLAIN.split("\n")
_LONG = _table(rows=40)
_AMOUNTS = [f"{line},{float(line.split(',')[4]) * float(line.split(',')[5]):.1f}" for line in _LINES[1:-1]]
_EPOCH = [int(time.timestamp()) for time in pd.date_range("2024-01-30 22:00", periods=24, freq="1h")]
_Texts = Iterator[tuple[str, str, dict[str, Any]]]  # name, text and options of each table


def _notations() -> _Texts:
    """Usual tables with usual times."""
    yield "plain", _PLAIN, {}
    yield "semicolons", _table(sign=";"), {}
    yield "tabs", _table("timestamps,o,h,l,c,v", sign="\t"), {}
    yield "bars, and lines of Windows", _table("ds,open,high,low,close,vol", sign="|").replace("\n", "\r\n"), {}
    yield "byte-order mark", "\ufeff" + _PLAIN, {}
    yield "Chinese names", _table("日期,开盘,最高,最低,收盘,成交量"), {}
    yield "German names", _table("Datum,Eröffnung,Hoch,Tief,Schluss,Stück"), {}
    yield "units in names", _table("Date (UTC),Open,High,Low,Close (USD),Volume (BTC)"), {}
    yield "without volume", _table("Date,Open,High,Low,Close", columns=4), {}
    yield "quoted", "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in _PLAIN.split("\n")[:-1]), {}
    yield "delimiter at the end", _PLAIN.replace("\n", ",\n"), {}
    yield (
        "named columns",
        _table("When,A,B,C,Last Price,Lots"),
        {"columns": dict(zip(_ROLES, ("When", "A", "B", "C", "Last Price", "Lots"), strict=True))},
    )
    yield "symbol and interval", _table(), {"symbol": "SIM", "interval": "60m"}
    yield "epoch seconds", _table(times=[str(second) for second in _EPOCH]), {}
    yield "epoch milliseconds", _table("open_time,open,high,low,close,volume", times=[f"{s}000" for s in _EPOCH]), {}
    yield "UTC", _table(times=_stamps("1h", "%Y-%m-%dT%H:%M:%SZ")), {}
    yield "an offset", _table(times=_stamps("1h", "%Y-%m-%d %H:%M:%S+05:30")), {}
    autumn = pd.date_range("2024-11-02 20:00", periods=24, freq="1h", tz="America/New_York")
    yield "several offsets", _table(times=[time.isoformat() for time in autumn]), {}
    midnights = pd.date_range("2024-10-20", periods=24, freq="1D", tz="America/New_York")
    yield "local midnights", _table(times=[time.isoformat() for time in midnights]), {}
    yield "dates", _table(times=_stamps("1D", "%Y-%m-%d")), {}
    yield "year first with slashes", _table(times=_stamps("1D", "%Y/%m/%d")), {}
    yield "year first with points and clock", _table(times=_stamps("15min", "%Y.%m.%d %H:%M")), {}
    meta = _table(
        "<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<TICKVOL>", times=_stamps("1h", "%Y.%m.%d,%H:%M:%S"), digits=5
    )
    yield "date and time of day", meta, {}
    yield (
        "compact date and time of day",
        _table("Date,Time,Open,High,Low,Close,Volume", times=_stamps("1h", "%Y%m%d,%H:%M")),
        {},
    )
    yield "weekdays", _table(times=_stamps("B", "%Y-%m-%d")), {}
    yield "months", _table(times=_stamps("MS", "%Y-%m-%d")), {}


def _faults() -> _Texts:
    """Rows that are sorted, merged, repaired or dropped."""
    yield "newest first", "\n".join([_PLAIN.split("\n")[0], *_PLAIN.split("\n")[1:-1][::-1]]), {}
    yield "unsorted", "\n".join([*_LINES[:5], _LINES[6], _LINES[5], *_LINES[7:]]), {}
    yield "repeated row", "\n".join([*_LINES[:5], _LINES[4], *_LINES[5:]]), {}
    yield "repeated time", "\n".join([*_LINES[:5], _LINES[4][:-1] + "9", *_LINES[5:]]), {}
    yield "short row", _replace_line(_LONG, 9, "2024-01-31 05:00:00,100.5"), {}
    yield "blank lines", _PLAIN.replace("\n", "\n\n", 3), {}
    yield "missing price", _replace_cell(_LONG, 8, 2, ""), {}
    yield "idle row", _replace_line(_LONG, 8, "2024-01-31 04:00:00,,,,,0"), {}
    yield "zero price", _replace_cell(_LONG, 8, 3, "0"), {}
    yield "infinite price", _replace_cell(_LONG, 8, 2, "inf"), {}
    yield "text as price", _replace_cell(_LONG, 8, 2, "halted"), {}
    yield "no time", _replace_cell(_LONG, 8, 0, "total"), {}
    yield "no such day", _replace_cell(_LONG, 8, 0, "2024-02-30 04:00:00"), {}
    yield "high below low", _replace_line(_LONG, 8, "2024-01-31 04:00:00,100,99,101,100.5,1200"), {}
    yield "narrow range", _replace_line(_LONG, 8, "2024-01-31 04:00:00,100,101,99,103,1200"), {}
    yield "missing and negative volume", _replace_cell(_replace_cell(_LONG, 8, 5, ""), 9, 5, "-4"), {}
    yield "idle candles", _replace_cell(_replace_cell(_LONG, 8, 5, "0"), 9, 5, "0"), {}


def _columns() -> _Texts:
    """Columns and numbers that are told by their names or cells."""
    yield "amount", "\n".join([f"{_LINES[0]},Amount", *_AMOUNTS]), {}
    rates = [f"{line},0.0001" for line in _LINES[1:-1]]
    yield "rate instead of an amount", "\n".join([f"{_LINES[0]},Turnover", *rates]), {}
    twice = [",".join([*line.split(",")[:5], line.split(",")[6], line.split(",")[5]]) for line in _AMOUNTS]
    yield "exchanged volume and amount", "\n".join([f"{_LINES[0]},Amount", *twice]), {}
    yield "two volumes", "\n".join(["Date,Open,High,Low,Close,Volume BTC,Volume USDT", *_AMOUNTS]), {}
    yield "symbol column", "\n".join([f"{_LINES[0]},Symbol", *(f"{line},SIM" for line in _LINES[1:-1])]), {}
    marks = [f"{line},{int(i < 23)}" for i, line in enumerate(_LINES[1:-1])]
    yield "forming candle by its mark", "\n".join([f"{_LINES[0]},Confirm", *marks]), {}
    yield "forming candle by its time", _PLAIN + "2024-01-31 22:07:13,99,101,98,100,4\n", {}
    yield "resembling column", _table("Date,Open,High,Low,Close,Volume traded today"), {}
    yield "three decimals", _table(digits=3), {}
    yield "three decimals with semicolons", _table(digits=3, sign=";"), {}
    yield "three decimals with semicolons, decided", _table(digits=3, sign=";"), {"decimal": "."}
    yield "three decimals in few volumes", _table(digits=2).replace("Date", "Time"), {}
    points = [f"2024-01-30 {i:02d}:00,1.50,2.50,1.20,1.{i + 30},{i + 10}.{i + 310}" for i in range(24)]
    yield "volumes of three decimals", "\n".join(["Date,Open,High,Low,Close,Volume", *points]), {}
    yield "exponents", _replace_cell(_PLAIN, 4, 5, "1.2e3"), {}


def _refused() -> _Texts:
    """Tables that both packages refuse."""
    yield (
        "two instruments",
        "\n".join([f"{_LINES[0]},Symbol", *(f"{line},{'AB'[i % 2]}" for i, line in enumerate(_LINES[1:-1]))]),
        {},
    )
    yield "empty", "", {}
    yield "only a header", _LINES[0] + "\n", {}
    yield "web page", "<!DOCTYPE html><html><body>x</body></html>", {}
    yield "missing columns", _table("Date,Open,High,Low,Something,Volume"), {}
    yield "two columns of one meaning", _table("Date,Open,Open,High,Low,Close"), {}
    yield "no column of times", _table("What,Open,High,Low,Close,Volume"), {}
    yield "no such column", _PLAIN, {"columns": {"close": "Last"}}
    yield "long row", _replace_line(_PLAIN, 6, _LINES[5] + ",7,8"), {}
    yield "ambiguous dates", _table(times=["01/02/2024", "02/03/2024"] * 1, rows=2), {}
    yield "ambiguous dates without century", _table(times=["01/02/03", "02/03/04"], rows=2), {}
    yield "mixed dates", _table(times=["13/01/2024", "01/13/2024"] * 4, rows=8), {}
    yield "rounded times", _table(times=["1.70664E+12"] * 24), {}
    yield "numbers of days", _table(times=[str(45321 + i) for i in range(24)]), {}
    yield "epoch in the future", _table(times=[f"{second + 10**9}" for second in _EPOCH]), {}
    yield "conflicting rows", _table(times=[stamp[:10] for stamp in _stamps("1h")]), {}
    yield (
        "unusable rows",
        "\n".join([*_LINES[:3], *(line.split(",")[0] + ",,1,,5,6" for line in _LINES[3:9]), *_LINES[9:]]),
        {},
    )
    yield "many texts", _PLAIN.replace(".1", "x"), {}
    negative = [",".join([line.split(",")[0], *(f"-{cell}" for cell in line.split(",")[1:])]) for line in _LINES[1:-1]]
    yield "negative prices", "\n".join([_LINES[0], *negative]), {}
    yield "exchanged high and low", _table("Date,Open,Low,High,Close,Volume"), {}
    yield "mixed intervals", _table(times=[*_stamps("1h", rows=12), *_stamps("1min", rows=12, start="2024-03-01")]), {}
    yield (
        "no single interval",
        _table(
            times=[
                f"2024-01-{day:02d} {hour:02d}:00" for day, hour in zip(range(1, 25), [0, 7, 9, 20] * 6, strict=True)
            ]
        ),
        {},
    )
    yield "wrong interval", _PLAIN, {"interval": "4h"}
    comma = "Date;Open;High;Low;Close\n" + "".join(
        f"2024-01-{day:02d};1,{200 + day};1,{230 + day};1,{170 + day};1,{201 + day}\n" for day in range(1, 25)
    )
    yield "ambiguous commas", comma, {}


def csv_cases() -> list[dict[str, Any]]:
    """Texts with the candles that Python reads from them, or its refusal."""
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        for name, text, options in chain(_notations(), _faults(), _columns(), _refused()):
            path = Path(folder) / "sim.csv"
            path.write_bytes(text.encode("utf-8"))
            cases.append({"name": name, "text": text, "options": options, **_read(path, options)})
    return cases


def _read(path: Path, options: dict[str, Any]) -> dict[str, Any]:
    known = {**options, "columns": tuple(options.get("columns", {}).items())}
    try:
        candles = load_candles(path, ReadOptions(**known, now=NOW))
    except KronosError as error:
        return {"error": str(error)}
    index = candles.index
    return {
        "symbol": candles.symbol or "",
        "interval": {"count": candles.interval.count, "unit": candles.interval.unit},
        "wall": _milliseconds(index),
        "offset": None if index.tz is None else int(index[-1].utcoffset().total_seconds() // 60),
        "values": candles.frame.to_numpy().tolist(),
        "hasVolume": candles.has_volume,
        "findings": [
            {"code": f.code, "severity": f.severity, "message": str(f.message), "rows": list(f.rows), "count": f.count}
            for f in candles.findings
            if f.code not in _GAPS
        ],
    }
