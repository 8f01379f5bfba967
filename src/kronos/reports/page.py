"""Base class of the report pages: options, texts, labelled values, inline figures, rendering and saving."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from markupsafe import Markup

from kronos.atomic import write_text
from kronos.reports.html import Look, Palette, Theme, css_variables, render, validate_look
from kronos.reports.i18n import Language, Translator


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
