"""The doctor's report in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_UNITS = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "bf16", "sve")  # that matter here
_GOOD, _BAD, _MISSING = ("✓", "#26a69a"), ("✗", "bold #ef5350"), ("○", "#f2b134")


def view(report: Mapping[str, Any]) -> RenderableType:
    """One line a finding, in groups; a mark says whether it is good, missing or bad."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=1)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    parts = (_versions, _devices, _cache, _extras, _font, _self_test)
    for i, part in enumerate(parts):
        if i:
            grid.add_row("", "", "")
        for mark, label, text in part(report):
            grid.add_row(Text(*mark), label, Text(text))
    return Padding(Group(Text("kronos doctor", style="bold"), Text(), grid), (1, 1, 1, 1))


Lines = list[tuple[tuple[str, str], str, str]]


def _versions(report: Mapping[str, Any]) -> Lines:
    versions = dict(report["versions"])
    first = f"kronos {versions.pop('kronos')}, Python {versions.pop('python')} on {report['machine']['system']}"
    missing = [name for name, version in versions.items() if version is None]
    there = ", ".join(f"{name} {version}" for name, version in versions.items() if version is not None)
    lines: Lines = [(_GOOD, "versions", first), (_GOOD, "", there)]
    return lines + [(_BAD, "", f"missing: {', '.join(missing)}")] * bool(missing)


def _devices(report: Mapping[str, Any]) -> Lines:
    devices = report["devices"]
    units = ", ".join(unit for unit in _UNITS if unit in devices["cpu"]) or "no vector units known"
    fast = "gains here (bfloat16)" if devices["fast_gains"] else "gains nothing here"
    cards = ", ".join([*devices["cuda"], *(["mps"] if devices["mps"] else [])])
    return [
        (_GOOD, "device", f"{devices['best']} unless another is asked for; --precision fast {fast}"),
        (_GOOD, "processor", f"{report['machine']['cores']} cores, {devices['threads']} threads; {units}"),
        (_GOOD if cards else _MISSING, "cards", cards or "none; the processor does it all"),
    ]


def _cache(report: Mapping[str, Any]) -> Lines:
    cache = report["cache"]
    bundled = ", ".join(cache["bundled"])
    return [
        (_GOOD if bundled else _BAD, "bundled", bundled or "kronos-nano is missing; install kronos again"),
        (_GOOD if cache["cached"] else _MISSING, "cached", ", ".join(cache["cached"]) or "nothing yet"),
        (_GOOD, "cache", cache["folder"]),
        (_GOOD, "hub", "offline: only what is here" if cache["offline"] else cache["hub"]),
    ]


def _extras(report: Mapping[str, Any]) -> Lines:
    return [
        (_GOOD if extra["complete"] else _MISSING, f"extra {name}", extra["install"] or "complete")
        for name, extra in report["extras"].items()
    ]


def _font(report: Mapping[str, Any]) -> Lines:
    if report["chinese_font"]:
        return [(_GOOD, "Chinese font", "there")]
    return [(_MISSING, "Chinese font", "none; install one, for example Noto Sans CJK, to draw Chinese names")]


def _self_test(report: Mapping[str, Any]) -> Lines:
    test = report["self_test"]
    if test["status"] == "failed":
        return [(_BAD, "self-test", test["reason"])]
    what = f"{test['steps']} steps, {test['paths']} paths with {Path(test['model']).name}"
    return [(_GOOD, "self-test", f"{what}: loaded in {test['load_s']:.2f} s, forecast in {test['forecast_s']:.2f} s")]
