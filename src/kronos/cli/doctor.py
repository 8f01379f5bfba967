"""``kronos doctor``: what is installed, what it runs on, what is here, and whether it works."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from packaging.requirements import Requirement
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kronos.errors import KronosError

if TYPE_CHECKING:
    from kronos.settings import Settings

_PACKAGES = (
    "torch", "numpy", "pandas", "pyarrow", "safetensors", "huggingface-hub", "pydantic", "typer", "rich", "matplotlib",
    "exchange-calendars",
)  # fmt: skip
_STEPS, _PATHS = 8, 10


def examine() -> dict[str, Any]:
    """Everything the report says, ready for JSON.

    Raises:
        ParameterError: If a setting in the environment is out of its range.
    """
    from kronos.settings import get_settings

    settings = get_settings()
    return {
        "versions": _versions(),
        "machine": _machine(),
        "devices": _devices(),
        "cache": _cache(settings),
        "settings": settings.model_dump(mode="json"),
        "extras": _extras(),
        "chinese_font": _chinese_font(),
        "self_test": _self_test(settings),
    }


def _versions() -> dict[str, str | None]:
    """Installed versions; None for what is missing."""
    return {"kronos": _version("kronos-forecast"), "python": platform.python_version()} | {
        n: _version(n) for n in _PACKAGES
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _machine() -> dict[str, Any]:
    return {"system": platform.platform(), "cores": os.cpu_count(), "python": sys.executable}


def _devices() -> dict[str, Any]:
    """The processor and what it multiplies natively, cards, and where the fast precision gains."""
    import torch

    from kronos.inference.devices import gains_from_bfloat16, pick_device

    best = pick_device(None)
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    cards = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    return {
        "best": str(best),
        "threads": torch.get_num_threads(),
        "cpu": sorted(name for name, has in capabilities.items() if has is True),
        "cuda": [torch.cuda.get_device_name(card) for card in cards],
        "mps": bool(torch.backends.mps.is_available()),
        "fast_gains": gains_from_bfloat16(best),
    }


def _cache(settings: Settings) -> dict[str, Any]:
    """Where downloads lie, what is there, whether the network is used."""
    from huggingface_hub import constants

    from kronos.zoo import cache_root, cached, endpoint, list_checkpoints

    here = {entry.name: cached(entry) for entry in list_checkpoints()}
    return {
        "folder": str(cache_root(settings.cache_dir)),
        "hub": endpoint(),
        "offline": settings.offline or bool(constants.HF_HUB_OFFLINE),
        "bundled": [entry.name for entry in list_checkpoints() if entry.bundled],
        "cached": [e.name for e in list_checkpoints() if not e.bundled and here[e.name] is not None],
        "to_download": [e.name for e in list_checkpoints() if e.published and here[e.name] is None],
    }


def _extras() -> dict[str, dict[str, Any]]:
    """Each extra: whether it is complete, and the one line that installs what is missing."""
    try:
        about = metadata.metadata("kronos-forecast")
    except metadata.PackageNotFoundError:
        return {}
    needed = [Requirement(text) for text in metadata.requires("kronos-forecast") or ()]
    extras = {}
    for extra in about.get_all("Provides-Extra") or ():
        own = [
            r
            for r in needed
            if r.marker is not None and r.marker.evaluate({"extra": extra}) and r.name != "kronos-forecast"
        ]
        missing = [r for r in own if not _satisfied(r)]
        wanted = " ".join(f'"{r.name}{r.specifier}"' for r in missing)
        extras[extra] = {
            "complete": not missing,
            "missing": [r.name for r in missing],
            "install": f"python -m pip install {wanted}" if missing else None,
        }
    return extras


def _satisfied(requirement: Requirement) -> bool:
    version = _version(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _chinese_font() -> bool:
    """Whether pictures can show Chinese names."""
    from kronos.plotting.style import legible, make_style

    return legible("预测区间", make_style("light", "green-up")) == "预测区间"


def _self_test(settings: Settings) -> dict[str, Any]:
    """Forecast the sample with the model that is used when none is asked for, from this machine's files."""
    from kronos.cli.forecast.run import sample
    from kronos.inference import KronosPredictor
    from kronos.zoo import DEFAULT_MODEL

    model = settings.model or DEFAULT_MODEL
    report: dict[str, Any] = {"model": model, "steps": _STEPS, "paths": _PATHS}
    try:
        started = time.perf_counter()
        predictor = KronosPredictor.from_pretrained(
            model, device=settings.device, precision=settings.precision, local_files_only=True
        )
        loaded = time.perf_counter()
        predictor.forecast(sample(), _STEPS, samples=_PATHS, seed=0)
        done = time.perf_counter()
    except KronosError as error:
        return report | {"status": "failed", "reason": str(error)}
    return report | {"status": "passed", "load_s": round(loaded - started, 3), "forecast_s": round(done - loaded, 3)}


_UNITS = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "bf16", "sve")  # that matter here
_GOOD, _BAD, _MISSING = ("✓", "#26a69a"), ("✗", "bold #ef5350"), ("○", "#f2b134")


def view(report: Mapping[str, Any]) -> RenderableType:
    """One line a finding, in groups; a mark says whether it is good, missing or bad."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=1)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    parts = (_version_lines, _device_lines, _cache_lines, _extra_lines, _font_lines, _self_test_lines)
    for i, part in enumerate(parts):
        if i:
            grid.add_row("", "", "")
        for mark, label, text in part(report):
            grid.add_row(Text(*mark), label, Text(text))
    return Padding(Group(Text("kronos doctor", style="bold"), Text(), grid), (1, 1, 1, 1))


Lines = list[tuple[tuple[str, str], str, str]]


def _version_lines(report: Mapping[str, Any]) -> Lines:
    versions = dict(report["versions"])
    first = f"kronos {versions.pop('kronos')}, Python {versions.pop('python')} on {report['machine']['system']}"
    missing = [name for name, version in versions.items() if version is None]
    there = ", ".join(f"{name} {version}" for name, version in versions.items() if version is not None)
    lines: Lines = [(_GOOD, "versions", first), (_GOOD, "", there)]
    return lines + [(_BAD, "", f"missing: {', '.join(missing)}")] * bool(missing)


def _device_lines(report: Mapping[str, Any]) -> Lines:
    devices = report["devices"]
    units = ", ".join(unit for unit in _UNITS if unit in devices["cpu"]) or "no vector units known"
    fast = "gains here (bfloat16)" if devices["fast_gains"] else "gains nothing here"
    cards = ", ".join([*devices["cuda"], *(["mps"] if devices["mps"] else [])])
    return [
        (_GOOD, "device", f"{devices['best']} unless another is asked for; --precision fast {fast}"),
        (_GOOD, "processor", f"{report['machine']['cores']} cores, {devices['threads']} threads; {units}"),
        (_GOOD if cards else _MISSING, "cards", cards or "none; the processor does it all"),
    ]


def _cache_lines(report: Mapping[str, Any]) -> Lines:
    cache = report["cache"]
    bundled = ", ".join(cache["bundled"])
    return [
        (_GOOD if bundled else _BAD, "bundled", bundled or "kronos-nano is missing; install kronos again"),
        (_GOOD if cache["cached"] else _MISSING, "cached", ", ".join(cache["cached"]) or "nothing yet"),
        (_GOOD, "cache", cache["folder"]),
        (_GOOD, "hub", "offline: only what is here" if cache["offline"] else cache["hub"]),
    ]


def _extra_lines(report: Mapping[str, Any]) -> Lines:
    return [
        (_GOOD if extra["complete"] else _MISSING, f"extra {name}", extra["install"] or "complete")
        for name, extra in report["extras"].items()
    ]


def _font_lines(report: Mapping[str, Any]) -> Lines:
    if report["chinese_font"]:
        return [(_GOOD, "Chinese font", "there")]
    return [(_MISSING, "Chinese font", "none; install one, for example Noto Sans CJK, to draw Chinese names")]


def _self_test_lines(report: Mapping[str, Any]) -> Lines:
    test = report["self_test"]
    if test["status"] == "failed":
        return [(_BAD, "self-test", test["reason"])]
    what = f"{test['steps']} steps, {test['paths']} paths with {Path(test['model']).name}"
    return [(_GOOD, "self-test", f"{what}: loaded in {test['load_s']:.2f} s, forecast in {test['forecast_s']:.2f} s")]


EPILOG = "[bold]Examples[/bold]\n\nkronos doctor\n\nkronos doctor --json > report.json"


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Check versions, devices, caches, extras; try a small forecast. Status 0 if forecasting works."""
    from kronos.cli.console import emit, print_json, spinner, stdout

    with spinner("Looking around", wanted=True):
        report = examine()
    if json:
        print_json(report)
    else:
        emit(stdout(), view(report))
    if report["self_test"]["status"] == "failed":
        raise typer.Exit(1)
