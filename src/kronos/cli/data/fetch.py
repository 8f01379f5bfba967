"""``kronos data fetch``: candles of instruments by name, kept in the store and written where they are wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos data fetch BTC/USDT ETH/USDT --source binance --interval 1h --records 5000\n\n"
    "kronos data fetch BTC-USDT-SWAP --source okx --interval 4h --start 2024-01-01 --output btc_4h.parquet\n\n"
    "kronos data fetch BTC ETH --source coingecko --interval 4h --records 180 --output data/csv\n\n"
    "kronos data fetch AAPL --source yahoo --interval 1d --records 2000   [dim](needs kronos\\[equities])[/dim]"
)
_DEFAULT_RECORDS = 2000


def fetch(
    symbols: Annotated[list[str], typer.Argument(metavar="SYMBOL", help="In any usual notation.", show_default=False)],
    source: Annotated[
        str | None,
        typer.Option(
            help="okx, binance, any exchange of ccxt's, coingecko, yahoo, baostock, akshare, files:FOLDER, "
            "qlib:FOLDER, replay:FOLDER, simulated (KRONOS_SOURCE).",
            show_default="binance",
        ),
    ] = None,
    interval: Annotated[str, typer.Option("--interval", "-i", help="A candle's length, such as 5m, 1h, 1d.")] = "1h",
    records: Annotated[
        int | None,
        typer.Option("--records", "-n", min=2, help="The latest closed candles.", show_default="2000 without --start"),
    ] = None,
    start: Annotated[str | None, typer.Option(help="First opening time, UTC.", metavar="TIME")] = None,
    end: Annotated[
        str | None, typer.Option(help="Opening times from here on are left out, UTC.", metavar="TIME")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A .csv, .parquet or .feather file; a folder gets one a symbol."),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Where downloads are kept (KRONOS_STORE_DIR).", show_default="data/candles"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell what happens, and list all findings.")] = False,
) -> None:
    """Fetch closed candles by symbol: all that were asked for, in order, without gaps of our making.

    A symbol that fails does not stop the others, but the command then fails too.

    Downloads are kept: asking again fetches only what is new, and an interrupted download goes on where it was.
    """
    from kronos.cli.console import progress_bar
    from kronos.cli.data.series import Span, fetch_all, parse_time, show, targets
    from kronos.cli.data.telling import end as end_with
    from kronos.cli.data.telling import telling
    from kronos.intervals import Interval
    from kronos.settings import get_settings
    from kronos.sources import open_source

    length = Interval.parse(interval).normalized()
    latest = _DEFAULT_RECORDS if records is None and start is None else records
    span = Span(length, parse_time(start, "--start"), parse_time(end, "--end"), latest)
    settings = get_settings({"source": source, "store_dir": store})
    names = list(dict.fromkeys(symbols))
    with telling(verbose=verbose), progress_bar("Fetching", wanted=not json) as bar:
        opened = open_source(settings.source or "binance", settings=settings, progress=bar)
        files = targets(names, span, output, simulated=opened.simulated)
        fetched, failed = fetch_all(opened, names, span, files)
    show(fetched, opened, failed, json=json, verbose=verbose)
    end_with(failed)
