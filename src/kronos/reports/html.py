"""Rendering of HTML pages from templates, with themes and palettes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kronos.errors import ParameterError
from kronos.reports.i18n import Language, Translator

Palette = Literal["green-up", "red-up", "colour-blind"]
Theme = Literal["light", "dark"]
Look = Literal["auto", "light", "dark"]


def css_variables(theme: Theme, palette: Palette = "green-up") -> dict[str, str]:
    """Colours by the name of their CSS variable, without the two hyphens.

    Raises:
        ParameterError: If the theme or the palette is unknown.
    """
    colors = _read_palettes()
    if theme not in colors["themes"]:
        raise ParameterError(f"Invalid theme '{theme}': choose one of {', '.join(colors['themes'])}.")
    if palette not in colors["palettes"]:
        raise ParameterError(f"Invalid palette '{palette}': choose one of {', '.join(colors['palettes'])}.")
    return {**colors["themes"][theme], **colors["palettes"][palette][theme]}


@cache
def _read_palettes() -> Mapping[str, Any]:
    text = (resources.files("kronos.reports") / "shared" / "palettes.json").read_text("utf-8")
    palettes: Mapping[str, Any] = json.loads(text)
    return palettes


def render(
    template: str,
    content: Mapping[str, Any],
    *,
    title: str,
    language: Language = "en",
    look: Look = "auto",
    palette: Palette = "green-up",
) -> str:
    """Render a page.

    Args:
        template: Name of the template, such as ``evaluation.html``; it extends ``base.html``.
        content: Variables of the template. Text is escaped, except `markupsafe.Markup`.
        title: Title of the page.
        language: Language of the template's own texts.
        look: ``light``, ``dark``, or ``auto``, which follows the reader's system.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Returns:
        The page: one HTML file without external resources.

    Raises:
        ParameterError: If language, look or palette is unknown.
    """
    validate_look(look)
    translator = Translator(language)
    style = _style(look, palette)
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    html = (
        _environment()
        .get_template(template)
        .render(
            {
                **content,
                "title": title,
                "t": translator,
                "language": translator.tag,
                "look": look,
                "style": Markup(style),  # our own style sheet, without any text from users
                "policy": f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
            }
        )
    )
    return re.sub(r"\n[ \t]*(?=\n)", "", html) + "\n"  # without the empty lines of the templates


def validate_look(look: Look) -> Look:
    """Return the look if it is valid.

    Raises:
        ParameterError: If the look is unknown.
    """
    if look not in get_args(Look):
        raise ParameterError(f"Invalid look '{look}': choose one of {', '.join(get_args(Look))}.")
    return look


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("kronos.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _style(look: Look, palette: Palette) -> str:
    """The style sheet with its colours; without empty lines, so that `render` keeps the text that was hashed."""
    light, dark = (_declarations(css_variables(theme, palette)) for theme in ("light", "dark"))
    sheet = (resources.files("kronos.reports") / "style.css").read_text("utf-8")
    schemes = {"light": "light", "dark": "dark", "auto": "light dark"}
    colors = [f":root {{ color-scheme: {schemes[look]}; {dark if look == 'dark' else light} }}"]
    if look == "auto":
        colors.append(f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}")
    if look != "light":
        colors.append(f"@media print {{ :root {{ color-scheme: light; {light} }} }}")
    lines = "\n".join([*colors, sheet]).splitlines()
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _declarations(variables: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in variables.items())
