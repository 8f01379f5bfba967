"""``kronos mcp``: its options. The server is `kronos.mcp`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from kronos.cli.options import model_names

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos mcp --data data/candles\n\n"
    "kronos mcp --data data/candles --source okx --model kronos-small\n\n"
    "kronos mcp --source simulated   [dim](to try it; labelled so)[/dim]\n\n"
    "In an assistant's configuration:\n\n"
    '{"mcpServers": {"kronos": {"command": "kronos", "args": ["mcp", "--data", "/path/to/candles"]}}}'
)


def mcp(
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder whose files an assistant may read; nothing outside it.",
            metavar="FOLDER",
            show_default="data, if there is one",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="Where symbols' candles come from: okx, binance, replay:FOLDER, simulated … (KRONOS_SOURCE).",
            metavar="SPEC",
            show_default="none, only files",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Zoo name, hub id or folder; it has to be here (KRONOS_MODEL).",
            show_default="the bundled kronos-nano",
            autocompletion=model_names,
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1 or mps (KRONOS_DEVICE).", show_default="the best there is")
    ] = None,
) -> None:
    """Serve assistants over MCP: they list candles and models, forecast, and evaluate.

    An assistant starts this command itself and speaks to it on stdin and stdout; no port is opened. All its tools only
    read, files only from one folder.
    """
    from kronos.mcp import ServerOptions, run

    if sys.stdin.isatty():
        typer.echo("Waiting for an assistant on stdin; 'kronos mcp --help' shows how one starts this.", err=True)
    run(ServerOptions(data, source, model, device))
