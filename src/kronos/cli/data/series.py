"""Series by name on the command line: which span, into which file, and what to show of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kronos.candles.writing import ENDINGS, check_target, write_candles
from kronos.cli.console import print_json
from kronos.cli.data.tables import Column, page, table, width
from kronos.errors import DataError, KronosError, ParameterError, SourceError

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType
    from rich.table import Table

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


Failed = list[tuple[str, KronosError]]


def fetch_all(
    source: CandleSource, symbols: list[str], span: Span, files: list[Path | None]
) -> tuple[list[Fetched], Failed]:
    """Fetch series one after another; one of several that fails does not stop the others.

    Returns:
        What came, and which symbols failed for which reason; a source that cannot be reached is not asked again.

    Raises:
        KronosError: If the only one fails, or a file cannot be written.
    """
    fetched: list[Fetched] = []
    failed: Failed = []
    for symbol, file in zip(symbols, files, strict=True):
        try:
            fetched.append(fetch_one(source, symbol, span, file))
        except (DataError, ParameterError, SourceError) as error:
            if len(symbols) == 1:
                raise
            failed.append((symbol, error))
            if isinstance(error, SourceError):
                break
    return fetched, failed


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
        time = pd.Timestamp(text).as_unit("ns")  # so that what is out of all range is refused here
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
    files = [output / _file_name(symbol, span.interval, simulated=simulated) for symbol in symbols]
    seen: dict[str, str] = {}
    for symbol, file in zip(symbols, files, strict=True):
        other = seen.setdefault(file.name.casefold(), symbol)  # some file systems don't tell cases apart
        if other != symbol:
            raise ParameterError(f"{other} and {symbol} would both be written to {file}; leave one of them out.")
    return list(files)


def _file_name(symbol: str, interval: Interval, *, simulated: bool) -> str:
    """What a series' file is called: ``BTC-USDT_1h.csv``, ``simulated_BTC-USDT_1h.csv``."""
    plain = re.sub(r"[^\w.+=@-]+", "-", symbol).strip("-.") or "series"
    return f"{'simulated_' if simulated else ''}{plain}_{interval}.csv"


def show(
    fetched: list[Fetched],
    source: CandleSource,
    failed: Sequence[tuple[str, KronosError]] = (),
    *,
    json: bool,
    verbose: bool,
) -> None:
    """Print what came; what failed is part of the document for machines."""
    if json:
        errors = [{"symbol": symbol, "error": str(error)} for symbol, error in failed]
        series = [_entry(one) for one in fetched]
        print_json({"source": source.name, "simulated": source.simulated, "series": series, "errors": errors})
        return
    if not fetched:
        return
    from rich.text import Text

    lines: list[RenderableType] = [_table([_entry(one) for one in fetched]), Text()]
    if source.simulated:
        lines.append(Text("SIMULATED: these candles never traded.", style="bold yellow"))
    for one in fetched:
        for finding in one.candles.findings:
            if verbose or finding.severity == "warning":
                style = "yellow" if finding.severity == "warning" else "dim"
                lines.append(Text(f"{one.candles.symbol}: {finding.message}", style=style))
    lines += [Text.assemble(("→ ", "dim"), str(one.file)) for one in fetched if one.file is not None]
    page(*lines)


def _table(entries: list[dict[str, Any]]) -> Table:
    first, last = ([entry[end][:16].replace("T", " ") for entry in entries] for end in ("first", "last"))
    return table(
        Column("symbol", [entry["symbol"] for entry in entries]),
        Column("interval", [entry["interval"] for entry in entries], spare=1),
        Column("candles", [f"{entry['candles']:,}" for entry in entries], right=True),
        Column("first", first, spare=2),
        Column("last", last),
        Column("digest", [entry["sha256"][:12] for entry in entries], spare=3),
        width=width(),
    )


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
