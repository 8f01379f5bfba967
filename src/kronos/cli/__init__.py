"""The command line: one module a command, each parsing and printing only.

- Only typer is imported at start; everything else loads inside the command that needs it, so that
  ``kronos --help`` is there at once.
- A `KronosError` is one sentence on stderr. Status 0 is fine, 1 failed (weights, device, disk), 2 misused
  (a file, an option); Ctrl-C is 130.
- Results go to stdout, everything about the way there to stderr.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any

import typer

from kronos.cli import calibrate, data, doctor, evaluate, mcp, models, paper, pipeline, serve, train
from kronos.cli.errors import Commands
from kronos.cli.forecast import command as forecast

app = typer.Typer(
    name="kronos",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "[bold]Examples[/bold]\n\n"
        "kronos forecast --demo --plot forecast.png\n\n"
        "kronos forecast btc_1h.csv --horizon 24 --model kronos-small\n\n"
        "kronos data fetch BTC/USDT --source binance --interval 1h --output btc_1h.parquet\n\n"
        "kronos data prepare --config model_a_4h\n\n"
        "kronos evaluate data/candles --model kronos-small\n\n"
        "kronos train model --data btc_1h.csv\n\n"
        "kronos serve --source simulated\n\n"
        "kronos models list\n\n"
        "kronos doctor"
    ),
)
app.command("forecast", epilog=forecast.EPILOG)(forecast.forecast)
app.command("evaluate", epilog=evaluate.EPILOG)(evaluate.evaluate)
app.command("calibrate", epilog=calibrate.EPILOG)(calibrate.calibrate)
app.command("paper", epilog=paper.EPILOG)(paper.paper)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.add_typer(train.app, name="train")
app.command("pipeline", epilog=pipeline.EPILOG)(pipeline.pipeline)
app.command("mcp", epilog=mcp.EPILOG)(mcp.mcp)
app.command("serve", epilog=serve.EPILOG)(serve.serve)
app.command("doctor", epilog=doctor.EPILOG)(doctor.doctor)


def _version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        from kronos import __version__

        typer.echo(f"kronos {__version__}")
        raise typer.Exit


@app.callback()
def kronos(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Forecasts of candlesticks: exact, fast, and honest about their uncertainty."""


def main() -> Any:
    """Run the command line; the entry point of the ``kronos`` script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without our signs shows others, and nothing breaks
            stream.reconfigure(errors="replace")
    return app(prog_name="kronos")


__all__ = ["app", "main"]
