"""``kronos doctor``: report versions, devices, caches and extras, and try a small forecast."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from packaging.requirements import Requirement
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kronos.cli import options
from kronos.cli.errors import FAILED
from kronos.errors import KronosError
from kronos.formatting import os_error_reason, truncate
from kronos.network import describe_failure, environment_problem, is_unresolved, redact

if TYPE_CHECKING:
    from kronos.settings import Settings

EPILOG = "[bold]Examples[/bold]\n\nkronos doctor\n\nkronos doctor --json > report.json"
_DISTRIBUTION = "kronos-forecast"
_PACKAGES = (
    "torch", "numpy", "pandas", "pyarrow", "safetensors", "huggingface-hub", "pydantic", "typer", "rich", "matplotlib",
    "exchange-calendars",
)  # fmt: skip
_STEPS, _PATHS = 8, 10  # of the self-test
_PROBE_SECONDS = 3.0  # for an answer of the hub


def doctor(json: options.Json = False) -> None:
    """Check versions, devices, caches and extras, and try a small forecast.

    Status 0 if forecasting with the chosen model works; the hub is only needed for models that are not cached yet.
    """
    from kronos.cli.console import emit, print_json, spinner, stdout

    with spinner("Checking"):
        report = _make_report()
    if json:
        print_json(report)
    else:
        emit(stdout(), _view(report))
    if report["self_test"]["status"] == "failed":
        raise typer.Exit(FAILED)


def _make_report() -> dict[str, Any]:
    """Return the report as a JSON document.

    Raises:
        ParameterError: If a setting in the environment is out of range.
    """
    from kronos.settings import get_settings

    settings = get_settings()
    return {
        "versions": _versions(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": sys.executable},
        "devices": _devices(),
        "cache": _cache(settings),
        "network": _network(settings),
        "settings": _settings(settings),
        "extras": _extras(),
        "chinese_font": _has_chinese_font(),
        "self_test": _self_test(settings),
    }


def _versions() -> dict[str, str | None]:
    own = {"kronos": _version(_DISTRIBUTION), "python": platform.python_version()}
    return own | {package: _version(package) for package in _PACKAGES}


def _version(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> dict[str, Any]:
    """Return CPU features, GPUs, and whether the fast precision is faster on the default device."""
    import torch

    from kronos.inference.devices import pick_device, supports_bfloat16

    best = pick_device(None)
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    return {
        "best": str(best),
        "threads": torch.get_num_threads(),
        "cpu": sorted(name for name, available in capabilities.items() if available is True),
        "cuda": [torch.cuda.get_device_name(gpu) for gpu in gpus],
        "mps": bool(torch.backends.mps.is_available()),
        "fast_gains": supports_bfloat16(best),
    }


def _cache(settings: Settings) -> dict[str, Any]:
    """Return the cache folder, the checkpoints in it, and the hub."""
    from huggingface_hub import constants

    from kronos.zoo import cache_root, endpoint, find_cached, list_checkpoints

    checkpoints = [(entry, find_cached(entry) is not None) for entry in list_checkpoints()]
    folder = cache_root(settings.cache_dir)
    return {
        "folder": str(folder),
        "problem": _write_problem(folder),
        "hub": endpoint(),
        "offline": settings.offline or bool(constants.HF_HUB_OFFLINE),
        "bundled": [entry.name for entry, _ in checkpoints if entry.bundled],
        "cached": [entry.name for entry, is_cached in checkpoints if not entry.bundled and is_cached],
        "to_download": [entry.name for entry, is_cached in checkpoints if entry.published and not is_cached],
    }


def _settings(settings: Settings) -> dict[str, Any]:
    """Return the settings without passwords; a report may be shown to others."""
    values = settings.model_dump(mode="json")
    for source in values["sources"].values():
        for name in ("proxy", "base_url"):
            source[name] = None if source[name] is None else redact(source[name])
    return values


def _write_problem(folder: Path) -> str | None:
    """Say why no file can be written in a folder, or in the one that it would be created in; None if one can."""
    place = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    try:
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return f"no file can be written in {place} ({os_error_reason(error)})"


def _network(settings: Settings) -> dict[str, Any]:
    """Return whether the hub answers, and what is wrong with the proxies and certificates of the environment."""
    import httpx2
    from huggingface_hub import constants

    from kronos.zoo import endpoint

    if settings.offline or constants.HF_HUB_OFFLINE:
        return {"reachable": None, "problem": None}
    problem = environment_problem("httpx")
    if problem is None:
        try:
            httpx2.head(endpoint(), timeout=_PROBE_SECONDS)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            problem = _request_problem(error, endpoint())
    return {"reachable": problem is None, "problem": problem}


def _request_problem(error: Exception, url: str) -> str:
    explained = describe_failure(error, url, "httpx")
    if explained is not None:
        reason, fix = explained
        return f"{url} {reason}; {fix}"
    cause = "its name cannot be resolved" if is_unresolved(error) else str(error) or type(error).__name__
    return f"{url} could not be reached within {_PROBE_SECONDS:g} s ({truncate(cause, 120)})"


def _extras() -> dict[str, dict[str, Any]]:
    """Return whether each extra is installed, and the command that installs what is missing."""
    try:
        about = metadata.metadata(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return {}
    requirements = [Requirement(text) for text in metadata.requires(_DISTRIBUTION) or ()]
    extras = {}
    for extra in about.get_all("Provides-Extra") or ():
        missing = [
            requirement
            for requirement in requirements
            if requirement.marker is not None
            and requirement.marker.evaluate({"extra": extra})
            and requirement.name != _DISTRIBUTION
            and not _is_satisfied(requirement)
        ]
        packages = " ".join(f'"{requirement.name}{requirement.specifier}"' for requirement in missing)
        extras[extra] = {
            "complete": not missing,
            "missing": [requirement.name for requirement in missing],
            "install": f"python -m pip install {packages}" if missing else None,
        }
    return extras


def _is_satisfied(requirement: Requirement) -> bool:
    version = _version(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _has_chinese_font() -> bool:
    from kronos.plotting.style import legible, make_style

    return legible("预测区间", make_style("light", "green-up")) == "预测区间"


def _self_test(settings: Settings) -> dict[str, Any]:
    """Forecast the bundled sample with the default model, without downloads."""
    from kronos.cli.forecast.run import read_sample
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
        predictor.forecast(read_sample(), _STEPS, samples=_PATHS, seed=0)
        done = time.perf_counter()
    except KronosError as error:
        return report | {"status": "failed", "reason": str(error)}
    return report | {"status": "passed", "load_s": round(loaded - started, 3), "forecast_s": round(done - loaded, 3)}


_CPU_FEATURES = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "bf16", "sve")
_GOOD, _BAD, _MISSING = ("✓", "#26a69a"), ("✗", "bold #ef5350"), ("○", "#f2b134")

_Lines = list[tuple[tuple[str, str], str, str]]  # mark with its style, label, text


def _view(report: Mapping[str, Any]) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=1)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    sections = (_version_lines, _device_lines, _cache_lines, _extra_lines, _font_lines, _self_test_lines)
    for i, section in enumerate(sections):
        if i:
            grid.add_row("", "", "")
        for mark, label, text in section(report):
            grid.add_row(Text(*mark), label, Text(text))
    return Padding(Group(Text("kronos doctor", style="bold"), Text(), grid), (1, 1, 1, 1))


def _version_lines(report: Mapping[str, Any]) -> _Lines:
    versions = dict(report["versions"])
    first = f"kronos {versions.pop('kronos')}, Python {versions.pop('python')} on {report['machine']['system']}"
    missing = [name for name, version in versions.items() if version is None]
    installed = ", ".join(f"{name} {version}" for name, version in versions.items() if version is not None)
    lines: _Lines = [(_GOOD, "versions", first), (_GOOD, "", installed)]
    return lines + [(_BAD, "", f"missing: {', '.join(missing)}")] * bool(missing)


def _device_lines(report: Mapping[str, Any]) -> _Lines:
    devices = report["devices"]
    features = ", ".join(name for name in _CPU_FEATURES if name in devices["cpu"]) or "no known vector extensions"
    fast = "uses bfloat16" if devices["fast_gains"] else "is not faster here"
    gpus = ", ".join([*devices["cuda"], *(["mps"] if devices["mps"] else [])])
    return [
        (_GOOD, "device", f"{devices['best']} by default; --precision fast {fast}"),
        (_GOOD, "CPU", f"{report['machine']['cores']} cores, {devices['threads']} threads; {features}"),
        (_GOOD if gpus else _MISSING, "GPU", gpus or "none"),
    ]


def _cache_lines(report: Mapping[str, Any]) -> _Lines:
    cache, network = report["cache"], report["network"]
    if cache["offline"]:
        hub = (_GOOD, "hub", "offline: no downloads")
    elif network["reachable"]:
        hub = (_GOOD, "hub", f"{cache['hub']} answers")
    else:
        hub = (_BAD, "hub", f"{network['problem']}")
    place = cache["folder"]
    if cache["problem"] is None:
        folder = (_GOOD, "cache", place)
    else:
        mark = _MISSING if cache["offline"] else _BAD
        folder = (mark, "cache", f"{place}: {cache['problem']}; set KRONOS_CACHE_DIR to a folder of yours")
    bundled = ", ".join(cache["bundled"])
    return [
        (_GOOD if bundled else _BAD, "bundled", bundled or "kronos-nano is missing; reinstall kronos"),
        (_GOOD if cache["cached"] else _MISSING, "cached", ", ".join(cache["cached"]) or "none"),
        folder,
        hub,
    ]


def _extra_lines(report: Mapping[str, Any]) -> _Lines:
    return [
        (_GOOD if extra["complete"] else _MISSING, f"extra {name}", extra["install"] or "complete")
        for name, extra in report["extras"].items()
    ]


def _font_lines(report: Mapping[str, Any]) -> _Lines:
    if report["chinese_font"]:
        return [(_GOOD, "Chinese font", "installed")]
    return [(_MISSING, "Chinese font", "none; install one, such as Noto Sans CJK, for Chinese names in figures")]


def _self_test_lines(report: Mapping[str, Any]) -> _Lines:
    test = report["self_test"]
    if test["status"] == "failed":
        return [(_BAD, "self-test", test["reason"])]
    forecast = f"{test['steps']} steps, {test['paths']} paths with {Path(test['model']).name}"
    text = f"{forecast}: loaded in {test['load_s']:.2f} s, forecast in {test['forecast_s']:.2f} s"
    return [(_GOOD, "self-test", text)]
