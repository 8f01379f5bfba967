"""What ``kronos data prepare`` shows: configurations, plans, and what became of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kronos.cli.console import emit, print_json, stdout

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from kronos.cli.data.prepare import Job
    from kronos.datasets import Prepared
    from kronos.errors import KronosError
    from kronos.settings import Settings

_PARTS = {"train": "train", "val": "validation", "test": "test"}
_SHOWN = 6  # warnings, where not all are asked for


def show_configs(*, json: bool) -> None:
    """Print the configurations that have a name."""
    from kronos.datasets import configurations, load_config

    entries = [(entry, load_config(entry.path)) for entry in configurations()]
    if json:
        print_json(
            [
                {
                    "name": entry.name,
                    "model_name": config.model_name,
                    "description": config.description,
                    "timeframes": list(config.timeframes),
                    "target_symbols": list(config.target_symbols),
                    "records_per_timeframe": config.records_per_timeframe,
                    "path": str(entry.path),
                    "shipped": entry.shipped,
                }
                for entry, config in entries
            ]
        )
        return
    from rich.text import Text

    lines: list[RenderableType] = []
    for entry, config in entries:
        title = Text.assemble((entry.name, "bold"), "  ", config.description)
        facts = (
            f"{', '.join(config.timeframes)} · {len({symbol for symbol, _ in config.series})} symbols · "
            f"{config.records_per_timeframe:,} records · "
            f"windows {config.windows.lookback} + {config.windows.predict} · {config.source}"
        )
        lines += [title, Text(f"  {facts}", style="dim"), Text(f"  {_short(entry.path)}", style="dim"), Text()]
    lines.append(Text("kronos data prepare --config NAME --dry-run shows what one would do.", style="dim"))
    _print(*lines)


def show_plan(jobs: Sequence[Job], settings: Settings, *, force: bool, json: bool) -> None:
    """Print what would be done."""
    from kronos.sources import STORE, is_local

    store = settings.store_dir or STORE
    plans = [_plan(job, store if not is_local(job.config.source) else None) for job in jobs]
    if json:
        print_json({"dry_run": True, "datasets": plans})
        return
    from rich.text import Text

    lines: list[RenderableType] = []
    for plan in plans:
        lines += [
            Text.assemble((plan["model_name"], "bold"), "  ", plan["description"]),
            _facts(_plan_facts(plan, force)),
        ]
        lines += [_series_table(plan["series"]), Text()]
    lines.append(Text("Nothing was fetched or written.", style="dim"))
    _print(*lines)


def _plan(job: Job, store: Path | None) -> dict[str, Any]:
    config = job.config
    return {
        "model_name": config.model_name,
        "description": config.description,
        "source": config.source,
        "store": None if store is None else str(store),
        "output_directory": str(job.folder),
        "exists": job.folder.exists() and any(job.folder.iterdir()) if job.folder.is_dir() else job.folder.exists(),
        "timeframes": list(config.timeframes),
        "records_per_timeframe": config.records_per_timeframe,
        "windows": config.windows.model_dump(),
        "split": config.split.model_dump() | {"embargo": config.embargo},
        "quality": config.quality,
        "series": [
            {
                "symbol": symbol,
                "timeframe": str(interval),
                "records": config.records_per_timeframe,
                "days": round(config.records_per_timeframe * interval.seconds / 86_400, 1),
            }
            for symbol, interval in config.series
        ],
    }


def _plan_facts(plan: Mapping[str, Any], force: bool) -> list[tuple[str, str]]:
    split, windows = plan["split"], plan["windows"]
    state = "new"
    if plan["exists"]:
        state = "exists, would be replaced" if force else "exists, would be refused without --force"
    source = plan["source"] if plan["store"] is None else f"{plan['source']}, kept in {_short(plan['store'])}"
    parts = " / ".join(f"{split[name]:.0%}" for name in ("train", "validation", "test"))
    return [
        ("from", source),
        ("to", f"{_short(plan['output_directory'])} ({state})"),
        ("split", f"{parts} by time, {split['dates']} dates, embargo of {split['embargo']} candles"),
        ("windows", f"{windows['lookback']} + {windows['predict']} candles"),
        ("quality", "the paper's filters" if plan["quality"] == "paper" else "no filters"),
    ]


def _series_table(series: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("symbol", "timeframe", ">records", ">at least back to")
    for one in series:
        table.add_row(one["symbol"], one["timeframe"], f"{one['records']:,}", f"{one['days']:,.0f} days")
    return table


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
    _print(*lines)


def _told(series: Mapping[str, Any]) -> list[str]:
    """What is known of a series beyond its warnings."""
    told = [finding["message"] for finding in series["findings"] if finding["severity"] == "info"]
    quality = series["quality"] or {"notes": [], "reasons": []}
    return [*told, *quality["notes"], *quality["reasons"]]


def _result_table(series: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("series", ">candles", "first", "last", "made of", ">segments", ">left out")
    for one in series:
        left = one["left_out"]["filters"]
        table.add_row(
            one["unique_id"],
            f"{one['candles']:,}",
            str(one["first"])[:10],
            str(one["last"])[:10],
            one["resampled_from"] or "",
            str(one["segments"]),
            f"{left:,}" if left else "",
        )
    return table


def _parts_table(summary: Mapping[str, Any]) -> Table:
    windows = summary["config"]["windows"]
    table = _table("part", ">rows", "first", "last", f">windows of {windows['lookback']} + {windows['predict']}")
    for name, split in summary["splits"].items():
        count = sum(split["windows"].values())
        table.add_row(_PARTS[name], f"{split['rows']:,}", _minute(split["first"]), _minute(split["last"]), f"{count:,}")
    return table


def _minute(iso: str) -> str:
    return iso[:16].replace("T", " ")


def print_datasets(done: Sequence[Prepared], failed: Sequence[tuple[Job, KronosError]]) -> None:
    """Print what has become of all as one JSON document."""
    errors = [{"model_name": job.config.model_name, "error": str(error)} for job, error in failed]
    print_json({"datasets": [dict(one.summary) for one in done], "errors": errors})


def _table(*columns: str) -> Table:
    """A quiet table; a column whose name begins with ``>`` is of numbers."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name.lstrip(">"), justify="right" if name.startswith(">") else "left", no_wrap=True)
    return table


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


def _print(*lines: RenderableType) -> None:
    from rich.console import Group
    from rich.padding import Padding

    emit(stdout(), Padding(Group(*lines), 1))
