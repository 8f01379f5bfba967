"""What ``kronos data prepare`` shows: configurations, plans, and what became of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kronos.cli.console import Column, page, print_json, table, width
from kronos.errors import KronosError, ParameterError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from kronos.datasets import DatasetConfig, Prepared
    from kronos.datasets.config_loading import ConfigEntry
    from kronos.settings import Settings

_SHOWN = 6  # warnings, where not all are asked for
_ROOMY = 78  # columns from which on the table of parts has times of day


def show_configs(*, json: bool) -> None:
    """Print the configurations that have a name; one that is broken says why, and does not hide the others."""
    from kronos.datasets import configurations

    read = [(entry, *_read(entry)) for entry in configurations()]
    if json:
        print_json([_listing(*one) for one in read])
        return
    from rich.text import Text

    lines: list[RenderableType] = []
    for entry, config, problem in read:
        lines += [*_summary(entry, config, problem), Text(f"  {_short(entry.path)}", style="dim"), Text()]
    lines.append(Text("kronos data prepare --config NAME --dry-run shows what one would do.", style="dim"))
    page(*lines)


def _read(entry: ConfigEntry) -> tuple[DatasetConfig | None, str]:
    from kronos.datasets import load_config

    try:
        return load_config(entry.path), ""
    except ParameterError as error:
        return None, str(error)


def _listing(entry: ConfigEntry, config: DatasetConfig | None, problem: str) -> dict[str, Any]:
    """A configuration for machines."""
    place = {"name": entry.name, "path": str(entry.path), "shipped": entry.shipped}
    if config is None:
        return place | {"error": problem}
    return place | {
        "model_name": config.model_name,
        "description": config.description,
        "timeframes": list(config.timeframes),
        "target_symbols": list(config.target_symbols),
        "records_per_timeframe": config.records_per_timeframe,
    }


def _summary(entry: ConfigEntry, config: DatasetConfig | None, problem: str) -> list[Text]:
    """A configuration for people."""
    from rich.text import Text

    if config is None:
        return [Text(entry.name, style="bold"), Text(f"  {problem}", style="yellow")]
    count = len({symbol for symbol, _ in config.series})
    facts = (
        f"{', '.join(config.timeframes)} · {count} symbol{'' if count == 1 else 's'} · "
        f"{config.records_per_timeframe:,} records · "
        f"windows {config.windows.lookback} + {config.windows.predict} · {config.source}"
    )
    return [Text.assemble((entry.name, "bold"), "  ", config.description), Text(f"  {facts}", style="dim")]


def show_plan(jobs: Sequence[PrepareJob], settings: Settings, *, force: bool, json: bool) -> None:
    """Print what would be done."""
    from kronos.sources import STORE, is_local

    store = settings.store_dir or STORE
    plans = [_plan(job, None if is_local(job.config.source) else store, force=force) for job in jobs]
    if json:
        print_json({"dry_run": True, "datasets": plans})
        return
    from rich.text import Text

    lines: list[RenderableType] = []
    for plan in plans:
        lines += [Text.assemble((plan["model_name"], "bold"), "  ", plan["description"]), _facts(_plan_facts(plan))]
        lines += [Text(f"! {plan['problem']}", style="yellow")] if plan["problem"] else []
        lines += [_series_table(plan["series"]), Text()]
    lines.append(Text("Nothing was fetched or written.", style="dim"))
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
        "problem": _problem(job.folder, force=force),
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


def _problem(place: Path, *, force: bool) -> str | None:
    """Why a dataset could not be put into its place, if so."""
    from kronos.datasets.prepare import check_output_folder

    try:
        check_output_folder(place, force=force)
    except ParameterError as error:
        return str(error)
    return None


def _plan_facts(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    split, windows = plan["split"], plan["windows"]
    state = "new"
    if plan["problem"]:
        state = "would be refused"
    elif plan["exists"]:
        state = "exists, would be replaced"
    source = plan["source"] if plan["store"] is None else f"{plan['source']}, kept in {_short(plan['store'])}"
    parts = " / ".join(f"{100 * split[name]:g}" for name in ("train", "validation", "test"))
    return [
        ("from", source),
        ("to", f"{_short(plan['output_directory'])} ({state})"),
        ("split", f"{parts} % by time, {split['dates']} dates, embargo of {split['embargo']} candles"),
        ("windows", f"{windows['lookback']} + {windows['predict']} candles"),
        ("quality", "the paper's filters" if plan["quality"] == "paper" else "no filters"),
    ]


def _series_table(series: Sequence[Mapping[str, Any]]) -> Table:
    return table(
        Column("symbol", [one["symbol"] for one in series]),
        Column("timeframe", [one["timeframe"] for one in series]),
        Column("records", [f"{one['records']:,}" for one in series], right=True),
        Column("reaches back at least", [f"{one['days']:,.0f} days" for one in series], right=True, spare=1),
        width=width(),
    )


def show_dataset(prepared: Prepared, *, verbose: bool) -> None:
    """Print what a dataset has become."""
    from rich.text import Text

    summary = prepared.summary
    title = Text.assemble((str(summary["model_name"]), "bold"), f"  from {summary['source']}")
    if summary["simulated"]:
        title.append("  SIMULATED: these candles never traded", style="bold yellow")
    lines: list[RenderableType] = [
        title,
        Text(),
        _result_table(summary["series"]),
        Text(),
        _parts_table(summary),
        Text(),
    ]
    warnings = summary["warnings"]
    lines += [Text(f"! {text}", style="yellow") for text in (warnings if verbose else warnings[:_SHOWN])]
    if len(warnings) > _SHOWN and not verbose:
        lines.append(Text(f"! … and {len(warnings) - _SHOWN} more; -v lists them.", style="yellow"))
    if verbose:
        lines += [
            Text(f"  {one['unique_id']}: {text}", style="dim") for one in summary["series"] for text in _told(one)
        ]
    files = ", ".join(f"{one['filename']} {one['size_mb']:g} MB" for one in summary["files"])
    lines.append(Text.assemble(("→ ", "dim"), _short(prepared.folder), (f"  {files}, data_summary.json", "dim")))
    page(*lines)


def _told(series: Mapping[str, Any]) -> list[str]:
    """What is known of a series beyond its warnings."""
    told = [finding["message"] for finding in series["findings"] if finding["severity"] == "info"]
    quality = series["quality"] or {"notes": [], "reasons": []}
    return [*told, *quality["notes"], *quality["reasons"]]


def _result_table(series: Sequence[Mapping[str, Any]]) -> Table:
    left = [one["left_out"]["filters"] for one in series]
    return table(
        Column("series", [one["unique_id"] for one in series]),
        Column("candles", [f"{one['candles']:,}" for one in series], right=True),
        Column("first", [str(one["first"])[:10] for one in series], spare=2),
        Column("last", [str(one["last"])[:10] for one in series], spare=1),
        Column("made of", [one["resampled_from"] or "" for one in series], spare=4),
        Column("segments", [str(one["segments"]) for one in series], right=True, spare=3),
        Column("left out", [f"{count:,}" if count else "" for count in left], right=True),
        width=width(),
    )


def _parts_table(summary: Mapping[str, Any]) -> Table:
    from kronos.datasets.splits import TITLES

    windows, splits, room = summary["config"]["windows"], list(summary["splits"].values()), width()
    size = f" of {windows['lookback']} + {windows['predict']}" if room >= _ROOMY else ""
    length = len("2026-01-01 00:00" if room >= _ROOMY else "2026-01-01")
    first, last = ([str(one[end])[:length].replace("T", " ") for one in splits] for end in ("first", "last"))
    return table(
        Column("part", [TITLES[name] for name in summary["splits"]]),
        Column("rows", [f"{one['rows']:,}" for one in splits], right=True),
        Column("first", first, spare=2),
        Column("last", last, spare=1),
        Column(f"windows{size}", [f"{sum(one['windows'].values()):,}" for one in splits], right=True),
        width=room,
    )


def print_datasets(done: Sequence[Prepared], failed: Sequence[tuple[str, KronosError]]) -> None:
    """Print what has become of all as one JSON document."""
    errors = [{"model_name": name, "error": str(error)} for name, error in failed]
    print_json({"datasets": [dict(one.summary) for one in done], "errors": errors})


def _facts(facts: Sequence[tuple[str, str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in facts:
        grid.add_row(label, Text(value))
    return grid


def _short(path: str | Path) -> str:
    """A path as a person in this folder would write it."""
    text = os.fspath(path)
    relative = os.path.relpath(text)
    return text if relative.startswith("..") else relative


@dataclass(frozen=True, slots=True)
class PrepareJob:
    """One dataset to prepare.

    Attributes:
        config: With what flags and environment say.
        folder: Where it goes.
    """

    config: DatasetConfig
    folder: Path
