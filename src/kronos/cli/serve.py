"""``kronos serve`` and ``kronos mcp``: servers for programs over HTTP and for assistants over MCP."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kronos.cli import options

if TYPE_CHECKING:
    from kronos.settings import Settings

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos serve\n\n"
    "kronos serve --source okx --model kronos-small --port 8080\n\n"
    "kronos serve --source simulated   [dim](no network; no statement about markets)[/dim]\n\n"
    "KRONOS_SERVE__API_KEYS=… kronos serve --host 0.0.0.0   [dim](for other machines: needs a key)[/dim]\n\n"
    "curl 'http://127.0.0.1:5000/api/predict?symbol=BTC'"
)
MCP_EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos mcp --data data/candles\n\n"
    "kronos mcp --data data/candles --source okx --model kronos-small\n\n"
    "kronos mcp --source simulated   [dim](to try it; results are labelled)[/dim]\n\n"
    "In an assistant's configuration:\n\n"
    '{"mcpServers": {"kronos": {"command": "kronos", "args": ["mcp", "--data", "/path/to/candles"]}}}'
)
_REQUIREMENTS = {
    "fastapi": "fastapi>=0.135",
    "uvicorn": "uvicorn[standard]>=0.40",
    "python_multipart": "python-multipart>=0.0.20",
    "prometheus_client": "prometheus-client>=0.22",
}
_PUBLISHED_VARIABLES = {"DEVICE": "device", "PORT": "port"}  # set by deployments of the published backend


def serve(
    host: options.Host = None,
    port: options.Port = None,
    model: options.Model = None,
    device: options.Device = None,
    source: options.Source = None,
    data: options.DataFolder = None,
    state: options.StateFolder = None,
    reload: options.Reload = False,
    json: options.LogJson = False,
    verbose: options.LogRequests = False,
) -> None:
    """Serve predictions over HTTP; the API reference is at /docs.

    Other settings are environment variables, KRONOS_SERVE__…, or lines of a .env file in the working folder.
    """
    check_packages()
    values = {"host": host, "port": port, "data_dir": data, "state_dir": state}
    overrides = {name: value for name, value in values.items() if value is not None}
    settings = settings_for({"model": model, "device": device, "source": source}, overrides)
    from kronos.serve.observability import configure_logging

    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    configure_logging(json_lines=json or not is_terminal, access_log=verbose)
    from kronos.serve.server import run, run_with_reload

    if reload:
        run_with_reload(settings)
    else:
        run(settings)


def settings_for(overrides: dict[str, Any], serve_overrides: dict[str, Any]) -> Settings:
    """Return the settings: options over environment variables over ``.env`` over defaults.

    ``DEVICE`` and ``PORT``, variables of the published backend, apply where the project's own are not set.

    Args:
        overrides: Values of options; None leaves a value to the environment.
        serve_overrides: Values of options for the server.

    Raises:
        ParameterError: If a value is out of range, a name is unknown, or ``.env`` is not UTF-8.
    """
    from kronos.errors import ParameterError
    from kronos.settings import ServeSettings, get_settings

    _load_dotenv()
    published = {
        name: os.environ[variable]
        for variable, name in _PUBLISHED_VARIABLES.items()
        if os.environ.get(variable, "").strip()
    }
    if "device" in published and not os.environ.get("KRONOS_DEVICE"):
        explicit = {name: value for name, value in overrides.items() if value is not None}
        overrides = {"device": published["device"]} | explicit
    if "port" in published and not os.environ.get("KRONOS_SERVE__PORT"):
        serve_overrides = {"port": published["port"], **serve_overrides}
    settings = get_settings(overrides)
    values = {name: getattr(settings.serve, name) for name in ServeSettings.model_fields} | serve_overrides
    try:
        serve = ServeSettings(**values)
    except ValueError as error:
        raise ParameterError(f"Invalid port {serve_overrides.get('port')}: choose 0–65535.") from error
    return settings.model_copy(update={"serve": serve})


def check_packages() -> None:
    """Check that the packages of the server are installed.

    Raises:
        ParameterError: If one is missing; the message has the command that installs it.
    """
    from importlib.util import find_spec

    from kronos.errors import ParameterError

    missing = [requirement for module, requirement in _REQUIREMENTS.items() if find_spec(module) is None]
    if missing:
        quoted = " ".join(f'"{requirement}"' for requirement in missing)
        raise ParameterError(f"kronos serve needs packages that are not installed: python -m pip install {quoted}")


def _load_dotenv() -> None:
    """Set the variables of a file ``.env`` in the working folder that are not set yet.

    Raises:
        ParameterError: If it is not UTF-8.
    """
    from dotenv import load_dotenv

    from kronos.errors import ParameterError

    try:
        load_dotenv(Path(".env"))
    except UnicodeDecodeError as error:
        raise ParameterError("The file .env is not UTF-8; save it as UTF-8.") from error


def mcp(
    data: options.DataFolder = None,
    source: options.AssistantSource = None,
    model: options.Model = None,
    device: options.Device = None,
) -> None:
    """Serve assistants over MCP: tools that list candles and models, forecast, and evaluate.

    An assistant starts this command and communicates over stdin and stdout; no port is opened. The tools only read,
    and only files of one folder. The model must be downloaded already.
    """
    from kronos.mcp import ServerOptions, run

    if sys.stdin.isatty():
        typer.echo("Waiting for an assistant on stdin; see 'kronos mcp --help' for its configuration.", err=True)
    run(ServerOptions(data, source, model, device))
