"""Rendering of HTML pages from templates, with themes and palettes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kronos.atomic import write_text
from kronos.errors import ParameterError
from kronos.reports.i18n import Language, Translator

Palette = Literal["green-up", "red-up", "colour-blind"]
Theme = Literal["light", "dark"]
Look = Literal["auto", "light", "dark"]

_LINKED_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'"
)


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
    style = _style(look, palette)
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    variables = {
        "look": look,
        "style": Markup(style),  # our own style sheet, without any text from users
        "policy": f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
    }
    return _render(template, {**content, **variables}, title, language)


def render_linked(
    template: str, content: Mapping[str, Any], *, title: str, language: Language = "en", palette: Palette = "green-up"
) -> str:
    """Render a page of a site, whose style sheet, script and data are files of its own origin.

    Nothing inline is allowed, nor anything from another origin. Light or dark follows the reader's system until the
    script selects a theme.

    Args:
        template: Name of the template; it extends ``base.html`` and links `linked_style`.
        content: Variables of the template. Text is escaped, except `markupsafe.Markup`.
        title: Title of the page.
        language: Language of the template's own texts.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If language or palette is unknown.
    """
    css_variables("light", palette)
    variables = {"look": "auto", "palette": palette, "policy": _LINKED_POLICY}
    return _render(template, {**content, **variables}, title, language)


def linked_style(extra: str) -> str:
    """Return the style sheet of a site: every theme and palette, the style of reports, and the site's own rules.

    Args:
        extra: The site's own rules.
    """
    rules = []
    for palette in get_args(Palette):
        root = f':root[data-palette="{palette}"]'
        light, dark = (_declarations(css_variables(theme, palette)) for theme in ("light", "dark"))
        rules += [
            f"{root} {{ color-scheme: light; {light} }}",
            f'{root}[data-theme="dark"] {{ color-scheme: dark; {dark} }}',
            f"@media (prefers-color-scheme: dark) {{ {root}:not([data-theme]) {{ color-scheme: dark; {dark} }} }}",
            f"@media print {{ {root}:root {{ color-scheme: light; {light} }} }}",
        ]
    sheet = (resources.files("kronos.reports") / "style.css").read_text("utf-8")
    return "\n".join([*rules, sheet, extra])


def _render(template: str, content: Mapping[str, Any], title: str, language: Language) -> str:
    """Render a template with the variables of every page, without the empty lines of the templates."""
    translator = Translator(language)
    variables = {**content, "title": title, "t": translator, "language": translator.tag}
    html = _environment().get_template(template).render(variables)
    return re.sub(r"\n[ \t]*(?=\n)", "", html) + "\n"


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


@dataclass(frozen=True, slots=True)
class PageOptions:
    """Appearance and language of a page.

    Attributes:
        look: ``light``, ``dark``, or ``auto``, which follows the reader's system.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.
        language: Language of the page's own texts, ``en`` or ``zh``; sentences of results are in English.

    Raises:
        ParameterError: If look, palette or language is unknown.
    """

    look: Look = "auto"
    palette: Palette = "green-up"
    language: Language = "en"

    def __post_init__(self) -> None:
        validate_look(self.look)
        css_variables(self.theme, self.palette)
        Translator(self.language)

    @property
    def theme(self) -> Theme:
        """Theme of the figures; those of an ``auto`` page adapt to the reader's system."""
        return "dark" if self.look == "dark" else "light"


DEFAULT_OPTIONS = PageOptions()


class ReportPage(ABC):
    """A page that is rendered from one template.

    Attributes:
        template: Name of the template.
        area: Prefix of the page's messages, such as ``training``.
        options: Appearance and language.
        t: Messages in the page's language.
    """

    template: ClassVar[str]
    area: ClassVar[str]

    def __init__(self, options: PageOptions = DEFAULT_OPTIONS) -> None:
        self.options = options
        self.t = Translator(options.language)

    @property
    @abstractmethod
    def title(self) -> str:
        """Default title of the page."""

    @abstractmethod
    def content(self) -> Mapping[str, Any]:
        """Variables of the template."""

    def text(self, key: str, **values: Any) -> str:
        """A message of the page's area."""
        return self.t(f"{self.area}.{key}", **values)

    def labelled(self, group: str, values: Mapping[str, str]) -> list[tuple[str, str]]:
        """Values with their labels, which are the messages of a group."""
        return [(self.text(f"{group}.{name}"), value) for name, value in values.items()]

    def render(self, title: str | None = None) -> str:
        """Render the page, by default under its own title."""
        return render(
            self.template,
            self.content(),
            title=self.title if title is None else title,
            language=self.options.language,
            look=self.options.look,
            palette=self.options.palette,
        )

    def save(self, path: Path, title: str | None = None) -> Path:
        """Write the page atomically.

        Raises:
            StorageError: If the file cannot be written.
        """
        write_text(path, self.render(title))
        return path


def inline_figures(svgs: Iterable[str]) -> list[Markup]:
    """SVG elements as markup for templates; `kronos.plotting.svg.inline_svg` escapes their texts."""
    return [Markup(svg) for svg in svgs]


def format_versions(versions: Mapping[str, str]) -> str:
    """Packages with their versions: ``kronos 1.0, torch 2.13``."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())
