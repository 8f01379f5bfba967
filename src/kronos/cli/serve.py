"""``kronos serve``: the prediction API and the workbench API on one port."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kronos.cli.options import model_names

if TYPE_CHECKING:
    from kronos.settings import Settings

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos serve\n\n"
    "kronos serve --source okx --model kronos-small --port 8080\n\n"
    "kronos serve --source simulated   [dim](no network; says nothing about markets)[/dim]\n\n"
    "KRONOS_SERVE__API_KEYS=… kronos serve --host 0.0.0.0   [dim](beyond this machine: a key is needed)[/dim]\n\n"
    "curl 'http://127.0.0.1:5000/api/predict?symbol=BTC'"
)
_PACKAGES = {
    "fastapi": "fastapi>=0.135",
    "uvicorn": "uvicorn[standard]>=0.40",
    "python_multipart": "python-multipart>=0.0.20",
    "prometheus_client": "prometheus-client>=0.22",
}
_FLAT = {"DEVICE": "device", "PORT": "port"}  # names that deployments of the published backend set


def serve(
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on; beyond this machine it needs a key.", show_default="127.0.0.1"),
    ] = None,
    port: Annotated[int | None, typer.Option(help="0 takes any that is free.", show_default="5000")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Zoo name, hub id or folder (KRONOS_MODEL).",
            show_default="the bundled kronos-nano",
            autocompletion=model_names,
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1 or mps (KRONOS_DEVICE).", show_default="the best there is")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="Where candles come from: okx, any exchange of ccxt's, coingecko, files:FOLDER, replay:FOLDER, "
            "simulated … (KRONOS_SOURCE).",
            show_default="binance",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The folder of candle files that clients may read.", show_default="data")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="The folder for uploads and saved results.", show_default="outputs/serve"),
    ] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Start anew when the code changes.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Log JSON lines even to a terminal.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log each request.")] = False,
) -> None:
    """Serve predictions over HTTP: one GET gives a symbol's next hours; the reference is at /docs.

    Everything else is set by variables, KRONOS_SERVE__…, also from a file .env in the working folder.
    """
    check_packages()
    given = {"host": host, "port": port, "data_dir": data, "state_dir": state}
    flags = {name: value for name, value in given.items() if value is not None}
    settings = settings_for({"model": model, "device": device, "source": source}, flags)
    from kronos.serve.observability import configure

    configure(machine=json or not sys.stderr.isatty(), verbose=verbose)
    from kronos.serve.server import run, run_reloading

    if reload:
        run_reloading(settings)
    else:
        run(settings)


def settings_for(overrides: dict[str, Any], flags: dict[str, Any]) -> Settings:
    """Everything that is configured: flags over variables over ``.env`` over defaults.

    The published backend's flat names, ``DEVICE`` and ``PORT``, count where the project's own are not set.

    Raises:
        ParameterError: If a value is out of its range, a name unknown, or the file ``.env`` no text.
    """
    from kronos.errors import ParameterError
    from kronos.settings import ServeSettings, get_settings

    _read_dotenv()
    flat = {own: os.environ[name] for name, own in _FLAT.items() if os.environ.get(name, "").strip()}
    if "device" in flat and not os.environ.get("KRONOS_DEVICE"):
        overrides = {"device": flat["device"]} | {name: value for name, value in overrides.items() if value is not None}
    if "port" in flat and not os.environ.get("KRONOS_SERVE__PORT"):
        flags = {"port": flat["port"], **flags}
    settings = get_settings(overrides)
    told = {name: getattr(settings.serve, name) for name in ServeSettings.model_fields} | flags
    try:
        serve = ServeSettings(**told)
    except ValueError as error:
        raise ParameterError(f"The port {flags.get('port')} is none; take one from 0 to 65535.") from error
    return settings.model_copy(update={"serve": serve})


def check_packages() -> None:
    """Refuse to begin where a package is missing, with the one line that installs it.

    Raises:
        ParameterError: If one is missing.
    """
    from importlib.util import find_spec

    from kronos.errors import ParameterError

    missing = [package for module, package in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        quoted = " ".join(f'"{package}"' for package in missing)
        raise ParameterError(f"kronos serve needs what is not installed; run: python -m pip install {quoted}")


def _read_dotenv() -> None:
    """Variables of a file ``.env`` in the working folder; those that are set already win.

    Raises:
        ParameterError: If it is no text.
    """
    from dotenv import load_dotenv

    from kronos.errors import ParameterError

    try:
        load_dotenv(Path(".env"))
    except UnicodeDecodeError as error:
        raise ParameterError("The file .env is not UTF-8; save it as that.") from error
