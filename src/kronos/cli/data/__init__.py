"""``kronos data``: fetch, check, prepare and simulate candles."""

from __future__ import annotations

import typer

from kronos.cli.data import check, fetch, prepare
from kronos.cli.errors import CommandGroup

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Candles: fetch, check, prepare for training, simulate.",
    epilog=(
        "[bold]Examples[/bold]\n\n"
        "kronos data fetch BTC/USDT --source binance --interval 1h --records 5000 --output btc_1h.parquet\n\n"
        "kronos data check btc_1h.parquet\n\n"
        "kronos data prepare --config model_a_4h\n\n"
        "kronos data simulate --records 600"
    ),
)
app.command("check", epilog=check.EPILOG)(check.check)
app.command("prepare", cls=prepare.MultiValueCommand, epilog=prepare.EPILOG)(prepare.prepare)
app.command("fetch", epilog=fetch.EPILOG)(fetch.fetch)
app.command("simulate", epilog=fetch.SIMULATE_EPILOG)(fetch.simulate)
