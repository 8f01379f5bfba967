"""``kronos live``: the live forecaster, its record and its page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kronos.cli import options
from kronos.cli.engine_options import EngineName
from kronos.cli.errors import CommandGroup

if TYPE_CHECKING:
    from kronos.live.config import LiveConfig

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Forecast after every candle, and keep a record that anybody can verify.",
    epilog=(
        "[bold]Examples[/bold]\n\n"
        "kronos live run --source replay --once   [dim](one cycle with the sample; no network)[/dim]\n\n"
        "kronos live run --symbol BTCUSDT --interval 1h\n\n"
        "kronos live status\n\n"
        "kronos live verify\n\n"
        "kronos live serve"
    ),
)

File = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Configuration.", show_default="config.yaml, if it exists"),
]
Profile = Annotated[
    str | None, typer.Option(metavar="NAME", help="Configuration that ships: development or production.")
]
Output = Annotated[
    Path | None, typer.Option("--output", metavar="FOLDER", help="Folder of the page.", show_default="outputs/live")
]
RecordOrBackup = Annotated[
    Path | None,
    typer.Option(
        "--record", metavar="PATH", help="Folder of the record, or a backup's file.", show_default="outputs/live-record"
    ),
]
RecordFolder = Annotated[
    Path | None,
    typer.Option("--record", metavar="FOLDER", help="Folder of the record.", show_default="outputs/live-record"),
]
Once = Annotated[bool, typer.Option("--once", "--single", help="Run one cycle and exit, for cron and systemd timers.")]
Cycles = Annotated[int | None, typer.Option(min=1, help="Exit after this many candles.", show_default="never")]
ReplayStart = Annotated[
    str | None, typer.Option(metavar="TIME", help="Start of a replay's clock, UTC.", show_default="its end")
]
Heads = Annotated[
    list[str] | None,
    typer.Option(
        "--head", metavar="SEQ:HASH", help="Head that was published earlier and must be in the chain; repeatable."
    ),
]
ExportFolder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to create.")]
BackupFile = Annotated[Path, typer.Argument(metavar="FILE", help="SQLite file to create.")]
Format = Annotated[Literal["parquet", "csv"], typer.Option("--format", help="Format of the tables.")]
PageHost = Annotated[str, typer.Option(help="Address to listen on; the page is readable by whoever can reach it.")]
Symbol = Annotated[str | None, typer.Option(metavar="NAMES", help="Symbols, separated by commas.")]

CycleEngine = Annotated[
    EngineName | None,
    typer.Option("--engine", help="local: this machine; ray: a Ray cluster (RAY_ADDRESS).", show_default="local"),
]
CycleWorkers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Processes, or Ray's actors, that a cycle of many symbols starts.", show_default="1"
    ),
]


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "kronos live run --source replay --once\n\n"
    "kronos live run --symbol BTCUSDT,ETHUSDT --model kronos-small --output public\n\n"
    "kronos live run --profile production --config config.yaml"
)
def run(
    config: File = None,
    profile: Profile = None,
    once: Once = False,
    source: options.ConfiguredSource = None,
    symbol: Symbol = None,
    interval: options.Interval = None,
    model: options.Model = None,
    device: options.Device = None,
    engine: CycleEngine = None,
    workers: CycleWorkers = None,
    output: Output = None,
    record: RecordFolder = None,
    cycles: Cycles = None,
    replay_start: ReplayStart = None,
    json: options.LogJson = False,
    verbose: options.Verbose = False,
) -> None:
    """Forecast after every candle: candles, forecasts, record, page.

    It reads public market data only and never trades. Ctrl-C and SIGTERM end it after the current step.
    """
    _check_packages()
    settings = _load(
        config,
        profile,
        {
            ("data", "source"): source,
            ("data", "symbol"): symbol,
            ("data", "interval"): interval,
            ("data", "replay_start"): replay_start,
            ("model", "model_name"): model,
            ("model", "device"): device,
            ("model", "engine"): engine,
            ("model", "workers"): workers,
            ("output", "folder"): output,
            ("record", "folder"): record,
            ("logging", "json_lines"): json or None,
            ("logging", "level"): "debug" if verbose else None,
        },
    )
    from kronos.live.service import run_live

    done = run_live(settings, once=once, cycles=cycles)
    page = settings.output.folder / settings.output.html_filename
    if page.is_file():
        typer.echo(f"{page}: open it, or say kronos live serve.")
    if once and not done:
        raise typer.Exit(1)


@app.command(epilog="[bold]Examples[/bold]\n\nkronos live status\n\nkronos live status --json | jq .state")
def status(
    config: File = None, profile: Profile = None, record: RecordFolder = None, json: options.Json = False
) -> None:
    """Show what the forecaster did last, and what the record holds; status 1 if it is late or not running."""
    _check_packages()
    settings = _load(config, profile, {("record", "folder"): record})
    from kronos.live.status import describe_status, read_status

    found = read_status(settings)
    _print(found.to_dict(), describe_status(found), json=json)
    if found.state != "fresh":
        raise typer.Exit(1)


@app.command(epilog="[bold]Examples[/bold]\n\nkronos live score")
def score(
    config: File = None,
    profile: Profile = None,
    source: options.ConfiguredSource = None,
    output: Output = None,
    record: RecordFolder = None,
    json: options.Json = False,
) -> None:
    """Score the forecasts whose candles have closed, without making one."""
    _check_packages()
    overrides = {("data", "source"): source, ("output", "folder"): output, ("record", "folder"): record}
    settings = _load(config, profile, overrides)
    from kronos.live.service import score_live

    entries = score_live(settings)
    kinds = [entry.kind for entry in entries]
    counts = {kind: kinds.count(kind) for kind in ("score", "unresolved", "revision")}
    lines = [f"{counts['score']} scored, {counts['unresolved']} unresolved, {counts['revision']} candles revised."]
    _print(counts, lines, json=json)


@app.command(
    epilog="[bold]Examples[/bold]\n\nkronos live verify\n\nkronos live verify --head 1041:9f2c… --json\n\n"
    "kronos live verify --record backup.sqlite"
)
def verify(
    config: File = None,
    profile: Profile = None,
    output: Output = None,
    record: RecordOrBackup = None,
    head: Heads = None,
    json: options.Json = False,
) -> None:
    """Recompute the hash chain and all scores of the record; status 1 if anything does not fit.

    Heads that were published in the output folder have to be in the chain, too.
    """
    _check_packages()
    settings = _load(config, profile, {("output", "folder"): output, **_record(record)})
    from kronos.live.status import describe_verification, verify_record

    found = verify_record(settings, head or [])
    _print(found.to_dict(), describe_verification(found), json=json)
    if not found.ok:
        raise typer.Exit(1)


@app.command(epilog="[bold]Examples[/bold]\n\nkronos live export record-2026-03\n\nkronos live export csv --format csv")
def export(
    folder: ExportFolder,
    config: File = None,
    profile: Profile = None,
    record: RecordOrBackup = None,
    format: Format = "parquet",
    json: options.Json = False,
) -> None:
    """Write the record as tables: all rows, and forecasts, scores and missed origins."""
    _check_packages()
    settings = _load(config, profile, _record(record))
    from kronos.live.exports import export as write_tables
    from kronos.live.record import Record

    with Record.open(settings.record.database, read_only=True) as opened:
        document = write_tables(opened, folder, format)
    _print(document, [str(file) for file in sorted(folder.iterdir())], json=json)


@app.command(epilog="[bold]Examples[/bold]\n\nkronos live backup record-2026-03-01.sqlite")
def backup(file: BackupFile, config: File = None, profile: Profile = None, record: RecordFolder = None) -> None:
    """Copy the record to a SQLite file while the forecaster runs."""
    _check_packages()
    settings = _load(config, profile, {("record", "folder"): record})
    from kronos.live.record import backup as copy_record

    seq, digest = copy_record(settings.record.database, file)
    typer.echo(f"{file}: {seq} rows, head {digest}")


@app.command(epilog="[bold]Examples[/bold]\n\nkronos live serve\n\nkronos live serve --port 8080")
def serve(
    config: File = None,
    profile: Profile = None,
    host: PageHost = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default="8000")] = None,
    output: Output = None,
    record: RecordFolder = None,
) -> None:
    """Serve the page and /health."""
    from kronos.cli.serve import check_packages

    check_packages()
    _check_packages()
    overrides = {
        ("output", "web_server_port"): port,
        ("output", "folder"): output,
        ("record", "folder"): record,
    }
    settings = _load(config, profile, overrides)
    from kronos.live.server import serve as serve_page

    serve_page(settings, host=host)


def _record(path: Path | None) -> dict[tuple[str, str], Any]:
    """What ``--record`` sets where a record is only read: its folder, or a backup's file."""
    return {("record", "url" if path is not None and path.is_file() else "folder"): path}


def _load(file: Path | None, profile: str | None, overrides: dict[tuple[str, str], Any]) -> LiveConfig:
    """Load the configuration: options over environment over file over profile."""
    from kronos.live.config import load_config

    values = {key: str(value) if isinstance(value, Path) else value for key, value in overrides.items()}
    return load_config(file, profile=profile, overrides=values)


def _check_packages() -> None:
    """Check that the packages of the record are installed.

    Raises:
        ParameterError: If one is missing; the message has the command that installs it.
    """
    from importlib.util import find_spec

    from kronos.errors import ParameterError

    if find_spec("sqlalchemy") is None:
        raise ParameterError(
            'kronos live needs packages that are not installed: python -m pip install "kronos-forecast[live]"'
        )


def _print(document: dict[str, Any], lines: list[str], *, json: bool) -> None:
    from kronos.cli.console import print_json

    if json:
        print_json(document)
        return
    for line in lines:
        typer.echo(line)
