"""The command line: each module parses the options of one command and prints its results.

- Only typer is imported at start; everything else is imported inside the command that needs it, which keeps
  ``kronos --help`` fast.
- A `KronosError` is printed as one message on stderr; with ``--json`` also as a document on stdout. Status 0: success;
  1: failure (weights, device, disk); 2: wrong usage (a file, an option); 3: series were skipped; 130: Ctrl-C.
- Results are printed on stdout, progress and notes on stderr.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, Any

import typer

from kronos.cli import backtest, batch, calibrate, data, doctor, evaluate, live, models, paper, pipeline, serve, train
from kronos.cli.console import valid_width
from kronos.cli.errors import CommandGroup
from kronos.cli.forecast import command as forecast_command

app = typer.Typer(
    name="kronos",
    cls=CommandGroup,
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
        "kronos backtest data/candles/us_equity --interval 1d\n\n"
        "kronos batch data/candles --output out/batch\n\n"
        "kronos serve --source simulated\n\n"
        "kronos live run --source replay --once\n\n"
        "kronos models list\n\n"
        "kronos doctor"
    ),
)
app.command("forecast", epilog=forecast_command.EPILOG)(forecast_command.forecast)
app.command("evaluate", epilog=evaluate.EPILOG)(evaluate.evaluate)
app.command("calibrate", epilog=calibrate.EPILOG)(calibrate.calibrate)
app.command("backtest", epilog=backtest.EPILOG)(backtest.backtest)
app.command("batch", epilog=batch.EPILOG)(batch.batch)
app.command("paper", epilog=paper.EPILOG)(paper.paper)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.add_typer(train.app, name="train")
app.command("pipeline", epilog=pipeline.EPILOG)(pipeline.pipeline)
app.add_typer(live.app, name="live")
app.command("mcp", epilog=serve.MCP_EPILOG)(serve.mcp)
app.command("serve", epilog=serve.EPILOG)(serve.serve)
app.command("doctor", epilog=doctor.EPILOG)(doctor.doctor)


def _print_version(requested: bool) -> None:
    if requested:
        from kronos import __version__

        typer.echo(f"kronos {__version__}")
        raise typer.Exit


@app.callback()
def kronos(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Forecast candlesticks with Kronos, with calibrated uncertainty."""


def main() -> Any:
    """Run the command line; entry point of the ``kronos`` script."""
    _open_closed_streams()
    _correct_widths()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # characters that the terminal's encoding lacks print as ?
    return app(prog_name="kronos")


def _open_closed_streams() -> None:
    """Point closed standard streams to the null device: a file opened later would take their place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


def _correct_widths() -> None:
    """Unset or limit widths of the terminal with which rich and typer could show nothing."""
    for variable in ("COLUMNS", "TERMINAL_WIDTH"):
        if variable in os.environ:
            width = valid_width(os.environ.pop(variable))
            if width is not None:
                os.environ[variable] = str(width)


__all__ = ["app", "main"]
