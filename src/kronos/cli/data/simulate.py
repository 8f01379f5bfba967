"""``kronos data simulate``: candles that never traded, for demonstrations and tests, and labelled wherever they go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos data simulate\n\n"
    "kronos data simulate BTC-USDT-SWAP ETH-USDT-SWAP --interval 1h --records 26000 --output data/simulated\n\n"
    "kronos data simulate --market ashare --interval 5m --records 960 --seed 7"
)


def _markets(incomplete: str) -> list[str]:
    """Names that complete ``--market``."""
    from kronos.sources.simulation import MARKETS

    return [name for name in MARKETS if name.startswith(incomplete.lower())]


def simulate(
    symbols: Annotated[
        list[str] | None, typer.Argument(metavar="SYMBOL", help="Any names.", show_default="BTC-USDT")
    ] = None,
    market: Annotated[
        str, typer.Option(help="When it trades, and how: crypto, ashare, us, fx.", autocompletion=_markets)
    ] = "crypto",
    interval: Annotated[str, typer.Option("--interval", "-i", help="A candle's length, such as 5m, 1h, 1d.")] = "1h",
    records: Annotated[int, typer.Option("--records", "-n", min=2, help="Candles of each symbol.")] = 2000,
    end: Annotated[
        str | None,
        typer.Option(
            help="Opening times from here on are left out, UTC; the same end, the same candles.", metavar="TIME"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Other numbers give other markets.")] = 0,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A folder, or a file whose name begins with simulated.")
    ] = Path("data") / "simulated",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Simulate candles: regimes, clustered volatility, jumps, sessions. Their files' names say what they are.

    The candle of a time is the same whatever span is asked for, and longer candles are made of the shorter ones.
    """
    from kronos.cli.console import spinner
    from kronos.cli.data.fetch import FetchRange, fetch_one, parse_time, show, targets
    from kronos.intervals import Interval
    from kronos.sources.simulation import SimulatedSource

    span = FetchRange(Interval.parse(interval).normalized(), None, parse_time(end, "--end"), records)
    source = SimulatedSource(seed, market=market)
    names = list(dict.fromkeys(symbols or ["BTC-USDT"]))
    files = targets(names, span, output, simulated=True)
    with spinner("Simulating", wanted=not json):
        fetched = [fetch_one(source, name, span, file) for name, file in zip(names, files, strict=True)]
    show(fetched, source, json=json, verbose=False)
