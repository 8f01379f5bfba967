"""Colours of pages, as CSS variables made of ``shared/palettes.json``: two themes, three palettes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal

from kronos.errors import ParameterError

Palette = Literal["green-up", "red-up", "colour-blind"]
Theme = Literal["light", "dark"]


def css_variables(theme: Theme, palette: Palette = "green-up") -> dict[str, str]:
    """Names and values of all colours, without the two hyphens.

    Raises:
        ParameterError: If there is no such theme or palette.
    """
    known = _read()
    if theme not in known["themes"]:
        raise ParameterError(f"There is no theme '{theme}'; choose one of {', '.join(known['themes'])}.")
    if palette not in known["palettes"]:
        raise ParameterError(f"There is no palette '{palette}'; choose one of {', '.join(known['palettes'])}.")
    return {**known["themes"][theme], **known["palettes"][palette][theme]}


@cache
def _read() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(
        (resources.files("kronos.reports") / "shared" / "palettes.json").read_text("utf-8")
    )
    return found
