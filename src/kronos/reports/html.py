"""Pages made of templates: `render`."""

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


Look = Literal["auto", "light", "dark"]


def render(
    template: str,
    content: Mapping[str, Any],
    *,
    title: str,
    language: Language = "en",
    look: Look = "auto",
    palette: Palette = "green-up",
) -> str:
    """Make a page.

    Args:
        template: Its name, such as ``evaluation.html``; it extends ``base.html``.
        content: What the template shows, by name. All text is escaped; only `markupsafe.Markup` is taken as it is.
        title: Of the page.
        language: What its own words are in.
        look: ``light``, ``dark``, or ``auto``, which follows the reader's system.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Returns:
        The whole page: one file that loads nothing.

    Raises:
        ParameterError: If language, look or palette is unknown.
    """
    check_look(look)
    messages = Translator(language)
    style = _style(look, palette)
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    page = _environment().get_template(template)
    made = page.render(
        {
            **content,
            "title": title,
            "t": messages,
            "language": messages.tag,
            "look": look,
            "style": Markup(style),  # our own style sheet: no user's word is in it
            "policy": f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        }
    )
    return re.sub(r"\n[ \t]*(?=\n)", "", made) + "\n"  # without the empty lines that templates leave


def check_look(look: Look) -> Look:
    """A look, checked.

    Raises:
        ParameterError: If there is none of that name.
    """
    if look not in get_args(Look):
        raise ParameterError(f"A page looks {', '.join(get_args(Look))}, not '{look}'.")
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
    """The style sheet with its colours; without empty lines, so that `render` leaves it as its hash has it."""
    light, dark = (_block(css_variables(theme, palette)) for theme in ("light", "dark"))
    sheet = (resources.files("kronos.reports") / "style.css").read_text("utf-8")
    schemes = {"light": "light", "dark": "dark", "auto": "light dark"}
    colors = [f":root {{ color-scheme: {schemes[look]}; {dark if look == 'dark' else light} }}"]
    if look == "auto":
        colors.append(f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}")
    if look != "light":
        colors.append(f"@media print {{ :root {{ color-scheme: light; {light} }} }}")
    lines = "\n".join([*colors, sheet]).splitlines()
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _block(variables: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in variables.items())
