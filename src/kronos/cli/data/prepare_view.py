"""Terminal and JSON output of ``kronos data prepare``: configurations, plans and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kronos.cli.console import ConsoleColumn, page, page_width, print_json, table
from kronos.errors import KronosError, ParameterError
from kronos.formatting import plural, relative_path

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from kronos.datasets import DatasetConfig, PreparedDataset
    from kronos.datasets.config_loading import ConfigEntry
    from kronos.settings import Settings

_MAX_WARNINGS = 6  # without --verbose
_WIDE = 78  # columns from which the table of splits has times of day


@dataclass(frozen=True, slots=True)
class PrepareJob:
    """One dataset to prepare.

    Attributes:
        config: Configuration with options and environment variables applied.
        folder: Output folder.
    """

    config: DatasetConfig
    folder: Path


def show_configs(*, json: bool) -> None:
    """Print the bundled configurations; an invalid one shows its error."""
    from kronos.datasets import list_configs

    configs = [(entry, *_load(entry)) for entry in list_configs()]
    if json:
        print_json([_config_document(*config) for config in configs])
        return
    from rich.text import Text

    lines: list[RenderableType] = []
    for entry, config, problem in configs:
        lines += [*_config_lines(entry, config, problem), Text(f"  {relative_path(entry.path)}", style="dim"), Text()]
    lines.append(Text("kronos data prepare --config NAME --dry-run shows the plan of one.", style="dim"))
    page(*lines)


def _load(entry: ConfigEntry) -> tuple[DatasetConfig | None, str]:
    from kronos.datasets import load_config

    try:
        return load_config(entry.path), ""
    except ParameterError as error:
        return None, str(error)


def _config_document(entry: ConfigEntry, config: DatasetConfig | None, problem: str) -> dict[str, Any]:
    identity = {"name": entry.name, "path": str(entry.path), "shipped": entry.shipped}
    if config is None:
        return identity | {"error": problem}
    return identity | {
        "model_name": config.model_name,
        "description": config.description,
        "timeframes": list(config.timeframes),
        "target_symbols": list(config.target_symbols),
        "records_per_timeframe": config.records_per_timeframe,
    }


def _config_lines(entry: ConfigEntry, config: DatasetConfig | None, problem: str) -> list[Text]:
    from rich.text import Text

    if config is None:
        return [Text(entry.name, style="bold"), Text(f"  {problem}", style="yellow")]
    symbols = len({symbol for symbol, _ in config.series})
    facts = (
        f"{', '.join(config.timeframes)} · {plural(symbols, 'symbol')} · {config.records_per_timeframe:,} records · "
        f"windows {config.windows.lookback} + {config.windows.predict} · {config.source}"
    )
    return [Text.assemble((entry.name, "bold"), "  ", config.description), Text(f"  {facts}", style="dim")]


def show_plan(jobs: Sequence[PrepareJob], settings: Settings, *, force: bool, json: bool) -> None:
    """Print what `kronos data prepare` would do."""
    from kronos.sources import STORE, is_local

    store = settings.store_dir or STORE
    plans = [_plan(job, None if is_local(job.config.source) else store, force=force) for job in jobs]
    if json:
        print_json({"dry_run": True, "datasets": plans})
        return
    from rich.text import Text

    lines: list[RenderableType] = []
    for plan in plans:
        lines += [Text.assemble((plan["model_name"], "bold"), "  ", plan["description"]), _facts(plan)]
        lines += [Text(f"! {plan['problem']}", style="yellow")] if plan["problem"] else []
        lines += [_plan_table(plan["series"]), Text()]
    lines.append(Text("Dry run: nothing was fetched or written.", style="dim"))
    page(*lines)


def _plan(job: PrepareJob, store: Path | None, *, force: bool) -> dict[str, Any]:
    config = job.config
    return {
        "model_name": config.model_name,
        "description": config.description,
        "source": config.source,
        "store": None if store is None else str(store),
        "output_directory": str(job.folder),
        "exists": job.folder.exists(),
        "problem": _folder_problem(job.folder, force=force),
        "timeframes": list(config.timeframes),
        "records_per_timeframe": config.records_per_timeframe,
        "windows": config.windows.model_dump(),
        "split": config.split.model_dump() | {"embargo": config.embargo},
        "quality": config.quality,
        "series": [
            {
                "symbol": symbol,
                "timeframe": interval.timeframe,
                "records": config.records_per_timeframe,
                "days": round(config.records_per_timeframe * interval.seconds / 86_400, 1),
            }
            for symbol, interval in config.series
        ],
    }


def _folder_problem(folder: Path, *, force: bool) -> str | None:
    """Return why a dataset cannot be written into a folder, or None if it can."""
    from kronos.datasets.preparation import check_output_folder

    try:
        check_output_folder(folder, force=force)
    except ParameterError as error:
        return str(error)
    return None


def _facts(plan: Mapping[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    split, windows = plan["split"], plan["windows"]
    state = "refused" if plan["problem"] else "exists, to be replaced" if plan["exists"] else "new"
    source = plan["source"] if plan["store"] is None else f"{plan['source']}, cached in {relative_path(plan['store'])}"
    shares = " / ".join(f"{100 * split[name]:g}" for name in ("train", "validation", "test"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in (
        ("from", source),
        ("to", f"{relative_path(plan['output_directory'])} ({state})"),
        ("split", f"{shares} % by time, {split['dates']} dates, embargo of {split['embargo']} candles"),
        ("windows", f"{windows['lookback']} + {windows['predict']} candles"),
        ("quality", "the paper's filters" if plan["quality"] == "paper" else "no filters"),
    ):
        grid.add_row(label, Text(value))
    return grid


def _plan_table(series: Sequence[Mapping[str, Any]]) -> Table:
    return table(
        ConsoleColumn("symbol", [entry["symbol"] for entry in series]),
        ConsoleColumn("timeframe", [entry["timeframe"] for entry in series]),
        ConsoleColumn("records", [f"{entry['records']:,}" for entry in series], right=True),
        ConsoleColumn("minimum span", [f"{entry['days']:,.0f} days" for entry in series], right=True, priority=1),
        width=page_width(),
    )


def show_dataset(prepared: PreparedDataset, *, verbose: bool) -> None:
    """Print the contents of a prepared dataset."""
    from rich.text import Text

    summary = prepared.summary
    series, warnings = summary["series"], summary["warnings"]
    title = Text.assemble((str(summary["model_name"]), "bold"), f"  from {summary['source']}")
    if summary["simulated"]:
        title.append("  SIMULATED: these candles never traded", style="bold yellow")
    lines: list[RenderableType] = [title, Text(), _series_table(series), Text(), _split_table(summary), Text()]
    lines += [Text(f"! {text}", style="yellow") for text in (warnings if verbose else warnings[:_MAX_WARNINGS])]
    if len(warnings) > _MAX_WARNINGS and not verbose:
        lines.append(Text(f"! … and {len(warnings) - _MAX_WARNINGS} more; -v lists them.", style="yellow"))
    if verbose:
        lines += [Text(f"  {entry['unique_id']}: {text}", style="dim") for entry in series for text in _notes(entry)]
    files = ", ".join(f"{file['filename']} {file['size_mb']:g} MB" for file in summary["files"])
    folder = relative_path(prepared.folder)
    lines.append(Text.assemble(("→ ", "dim"), folder, (f"  {files}, data_summary.json", "dim")))
    page(*lines)


def _notes(series: Mapping[str, Any]) -> list[str]:
    """Return the notes on a series; its warnings are listed elsewhere."""
    notes = [finding["message"] for finding in series["findings"] if finding["severity"] == "info"]
    quality = series["quality"] or {"notes": [], "reasons": []}
    return [*notes, *quality["notes"], *quality["reasons"]]


def _series_table(series: Sequence[Mapping[str, Any]]) -> Table:
    filtered = [entry["left_out"]["filters"] for entry in series]
    return table(
        ConsoleColumn("series", [entry["unique_id"] for entry in series]),
        ConsoleColumn("candles", [f"{entry['candles']:,}" for entry in series], right=True),
        ConsoleColumn("first", [str(entry["first"])[:10] for entry in series], priority=2),
        ConsoleColumn("last", [str(entry["last"])[:10] for entry in series], priority=1),
        ConsoleColumn("resampled from", [entry["resampled_from"] or "" for entry in series], priority=4),
        ConsoleColumn("segments", [str(entry["segments"]) for entry in series], right=True, priority=3),
        ConsoleColumn("filtered out", [f"{count:,}" if count else "" for count in filtered], right=True),
        width=page_width(),
    )


def _split_table(summary: Mapping[str, Any]) -> Table:
    from kronos.datasets.splits import PART_TITLES

    windows, splits, width = summary["config"]["windows"], list(summary["splits"].values()), page_width()
    size = f" of {windows['lookback']} + {windows['predict']}" if width >= _WIDE else ""
    length = len("2026-01-01 00:00" if width >= _WIDE else "2026-01-01")
    first, last = ([str(split[end])[:length].replace("T", " ") for split in splits] for end in ("first", "last"))
    return table(
        ConsoleColumn("split", [PART_TITLES[name] for name in summary["splits"]]),
        ConsoleColumn("rows", [f"{split['rows']:,}" for split in splits], right=True),
        ConsoleColumn("first", first, priority=2),
        ConsoleColumn("last", last, priority=1),
        ConsoleColumn(f"windows{size}", [f"{sum(split['windows'].values()):,}" for split in splits], right=True),
        width=width,
    )


def print_datasets(prepared: Sequence[PreparedDataset], failed: Sequence[tuple[str, KronosError]]) -> None:
    """Print all datasets and failures as one JSON document."""
    errors = [{"model_name": name, "error": str(error)} for name, error in failed]
    print_json({"datasets": [dict(dataset.summary) for dataset in prepared], "errors": errors})
