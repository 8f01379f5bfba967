"""What `kronos doctor` looks at, gathered as plain values."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement

from kronos.errors import KronosError
from kronos.settings import Settings, get_settings

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
    return {"kronos": _version("kronos"), "python": platform.python_version()} | {n: _version(n) for n in _PACKAGES}


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

    from kronos.zoo import cache_root, cached, catalogue, endpoint

    here = {entry.name: cached(entry) for entry in catalogue()}
    return {
        "folder": str(cache_root(settings.cache_dir)),
        "hub": endpoint(),
        "offline": settings.offline or bool(constants.HF_HUB_OFFLINE),
        "bundled": [entry.name for entry in catalogue() if entry.bundled],
        "cached": [e.name for e in catalogue() if not e.bundled and here[e.name] is not None],
        "to_download": [e.name for e in catalogue() if e.published and here[e.name] is None],
    }


def _extras() -> dict[str, dict[str, Any]]:
    """Each extra: whether it is complete, and the one line that installs what is missing."""
    try:
        about = metadata.metadata("kronos")
    except metadata.PackageNotFoundError:
        return {}
    needed = [Requirement(text) for text in metadata.requires("kronos") or ()]
    extras = {}
    for extra in about.get_all("Provides-Extra") or ():
        own = [r for r in needed if r.marker is not None and r.marker.evaluate({"extra": extra}) and r.name != "kronos"]
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
    from kronos.cli.reading import sample
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
