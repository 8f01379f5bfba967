"""Series by name on the command line: which span, into which file, and what to show of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kronos.candles.writing import ENDINGS, check_target, write_candles
from kronos.cli.console import emit, print_json, stdout
from kronos.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd

    from kronos.candles import Candles
    from kronos.intervals import Interval
    from kronos.sources import CandleSource


@dataclass(frozen=True, slots=True)
class Span:
    """Which candles to fetch; see `CandleSource.candles`."""

    interval: Interval
    start: pd.Timestamp | None
    end: pd.Timestamp | None
    records: int | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """One series that was fetched.

    Attributes:
        candles: What came.
        file: Where it was written; None if nowhere but the store.
    """

    candles: Candles
    file: Path | None


def fetch_one(source: CandleSource, symbol: str, span: Span, file: Path | None) -> Fetched:
    """Fetch a series, and write it where it is wanted."""
    candles = source.candles(symbol, span.interval, start=span.start, end=span.end, records=span.records)
    return Fetched(candles, None if file is None else write_candles(candles, file))


def parse_time(text: str | None, option: str) -> pd.Timestamp | None:
    """A time of the command line, in UTC."""
    if text is None:
        return None
    import pandas as pd

    try:
        time = pd.Timestamp(text)
        unreadable = pd.isna(time)
    except (ValueError, TypeError, OverflowError):
        unreadable = True
    if unreadable:
        raise ParameterError(f"{option} cannot be '{text}'; write a time like 2024-01-31 or '2024-01-31 12:00'.")
    return time.tz_localize("UTC") if time.tz is None else time.tz_convert("UTC")


def targets(symbols: list[str], span: Span, output: Path | None, *, simulated: bool) -> list[Path | None]:
    """A file for each symbol: the one named, or one in the folder named."""
    if output is None:
        return [None] * len(symbols)
    if output.suffix.lower() in ENDINGS:
        if len(symbols) > 1:
            raise ParameterError(f"{len(symbols)} symbols don't go into one file; give a folder to --output.")
        check_target(output, simulated=simulated)
        return [output]
    if output.suffix and not output.is_dir():
        raise ParameterError(
            f"--output {output.name} is neither a folder nor {', '.join(ENDINGS)}; correct its ending."
        )
    return [output / _file_name(symbol, span.interval, simulated=simulated) for symbol in symbols]


def _file_name(symbol: str, interval: Interval, *, simulated: bool) -> str:
    """What a series' file is called: ``BTC-USDT_1h.csv``, ``simulated_BTC-USDT_1h.csv``."""
    plain = re.sub(r"[^\w.+=@-]+", "-", symbol).strip("-.") or "series"
    return f"{'simulated_' if simulated else ''}{plain}_{interval}.csv"


def show(fetched: list[Fetched], source: CandleSource, *, json: bool, verbose: bool) -> None:
    """Print what came."""
    if json:
        print_json({"source": source.name, "simulated": source.simulated, "series": [_entry(one) for one in fetched]})
        return
    from rich.console import Group, RenderableType
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("symbol", "interval", "candles", "first", "last", "digest"):
        table.add_column(name, justify="right" if name == "candles" else "left", no_wrap=True)
    for one in fetched:
        entry = _entry(one)
        times = [str(entry[name])[:16].replace("T", " ") for name in ("first", "last")]
        table.add_row(entry["symbol"], entry["interval"], f"{entry['candles']:,}", *times, entry["sha256"][:12])
    lines: list[RenderableType] = [table, Text()]
    if source.simulated:
        lines.append(Text("SIMULATED: these candles never traded.", style="bold yellow"))
    for one in fetched:
        for finding in one.candles.findings:
            if verbose or finding.severity == "warning":
                style = "yellow" if finding.severity == "warning" else "dim"
                lines.append(Text(f"{one.candles.symbol}: {finding.message}", style=style))
    lines += [Text.assemble(("→ ", "dim"), str(one.file)) for one in fetched if one.file is not None]
    emit(stdout(), Padding(Group(*lines), 1))


def _entry(one: Fetched) -> dict[str, Any]:
    from kronos.provenance import frame_digest

    candles = one.candles
    return {
        "symbol": candles.symbol,
        "interval": str(candles.interval),
        "source": candles.source,
        "simulated": candles.simulated,
        "candles": len(candles),
        "first": candles.start.isoformat(),
        "last": candles.end.isoformat(),
        "sha256": frame_digest(candles.frame),
        "findings": [
            {"severity": f.severity, "code": f.code, "count": f.count, "message": f.message} for f in candles.findings
        ],
        "file": None if one.file is None else str(one.file),
    }
