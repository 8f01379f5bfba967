"""Render the command reference as Markdown pages, one per command, from the Typer application itself."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from rich.text import Text

_TYPE_NAMES = {"str": "text", "int": "integer", "float": "number", "Path": "path"}
_ENVIRONMENT_VARIABLE = re.compile(r"(?<![`\w])(KRONOS_[A-Z_]+)(?!\w)")
_OPTION = re.compile(r"(?<![`\w-])(--[a-z][a-z-]*)")


@dataclass(frozen=True)
class CommandPage:
    """One page of the reference.

    Attributes:
        words: The command as typed, such as ``("kronos", "data", "fetch")``.
        path: Path of the page inside the documentation folder.
        markdown: Text of the page.
    """

    words: tuple[str, ...]
    path: str
    markdown: str

    @property
    def title(self) -> str:
        """The command as typed."""
        return " ".join(self.words)


def command_pages(app: typer.Typer, name: str = "kronos", folder: str = "cli") -> list[CommandPage]:
    """Render a page for the application, for each group, and for each command that is not hidden.

    Args:
        app: The command line application.
        name: The program's name.
        folder: Folder of the pages inside the documentation folder.
    """
    return [
        CommandPage(words, page_path(words, folder), _render(command, words, folder))
        for words, command in _iter_commands(typer.main.get_command(app), (name,))
    ]


def page_path(words: tuple[str, ...], folder: str = "cli") -> str:
    """Return the path of a command's page: ``cli/index.md``, ``cli/data-fetch.md``."""
    return f"{folder}/{'-'.join(words[1:]) or 'index'}.md"


def _iter_commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            yield from _iter_commands(child, (*words, name))


def _render(command: Any, words: tuple[str, ...], folder: str) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument" and not p.hidden]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    children = {name: child for name, child in getattr(command, "commands", {}).items() if not child.hidden}
    usage = [*words, *(["[OPTIONS]"] if options else []), *(["COMMAND"] if children else []), *map(_usage, arguments)]
    lines = [f"# {' '.join(words)}", "", _prose(command.help), "", "```text", " ".join(usage), "```", ""]
    if children:
        lines += ["## Commands", "", "| command | what it does |", "|---|---|"]
        for name, child in children.items():
            target = page_path((*words, name), folder).removeprefix(f"{folder}/")
            summary = _cell((child.help or "").split("\n\n")[0])
            lines.append(f"| [`{' '.join((*words, name))}`]({target}) | {summary} |")
        lines.append("")
    if arguments:
        lines += ["## Arguments", "", "| argument | description | default |", "|---|---|---|"]
        lines += [f"| `{_usage(p)}` | {_cell(p.help)} | {_default(p)} |" for p in arguments]
        lines.append("")
    for panel, members in _by_panel(options).items():
        lines += [f"## {panel}", "", "| option | value | description | default |", "|---|---|---|---|"]
        lines += [f"| {_names(p)} | {_value(p)} | {_cell(p.help)} | {_default(p)} |" for p in members]
        lines.append("")
    lines += _epilog(command.epilog)
    return "\n".join(lines).rstrip() + "\n"


def _by_panel(options: list[Any]) -> dict[str, list[Any]]:
    """Group options by the heading that ``--help`` shows them under."""
    panels: dict[str, list[Any]] = {}
    for option in options:
        panels.setdefault(option.rich_help_panel or "Options", []).append(option)
    return panels


def _usage(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    name += "..." if argument.nargs == -1 else ""
    return name if argument.required else f"[{name}]"


def _names(option: Any) -> str:
    names = [*option.opts, *option.secondary_opts]
    return ", ".join(f"`{name}`" for name in sorted(names, key=len, reverse=True))


def _value(option: Any) -> str:
    if option.is_flag:
        return "flag"
    annotation, repeated = _unwrap(option.type_descriptor.annotation)
    if get_origin(annotation) is Literal:
        value = ", ".join(f"`{choice}`" for choice in get_args(annotation))
    else:
        value = option.metavar or _TYPE_NAMES.get(getattr(annotation, "__name__", ""), "text")
    return f"{value}, repeatable" if repeated or option.multiple else value


def _unwrap(annotation: Any) -> tuple[Any, bool]:
    """Strip ``Annotated``, ``| None`` and ``list``; also return whether it was a list."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _unwrap(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        [inner] = [arg for arg in get_args(annotation) if arg is not type(None)]
        return _unwrap(inner)
    if origin is list:
        return _unwrap(get_args(annotation)[0])[0], True
    return annotation, False


def _default(param: Any) -> str:
    if param.required:
        return "required"
    if isinstance(param.show_default, str):
        return _cell(param.show_default.strip("()"))
    if not param.show_default or param.default in (None, False, [], ()):
        return ""
    return f"`{param.default}`"


def _prose(text: str | None) -> str:
    return _mark_names(_plain(text).replace("<", "&lt;").replace("*", "\\*"))


def _cell(text: str | None) -> str:
    """Text that fits a cell of a Markdown table."""
    return _prose(text).replace("|", "\\|").replace("\n", " ")


def _mark_names(text: str) -> str:
    """Set environment variables and options as code."""
    return _OPTION.sub(r"`\1`", _ENVIRONMENT_VARIABLE.sub(r"`\1`", text))


def _plain(text: str | None) -> str:
    """Remove Rich's markup."""
    return Text.from_markup(text or "").plain.strip()


def _epilog(text: str | None) -> list[str]:
    """Render the examples: commands and JSON as code, what is in brackets after a command as its comment."""
    lines: list[str] = []
    shell: list[str] = []

    def flush() -> None:
        if shell:
            lines.extend(["```sh", *shell, "```", ""])
            shell.clear()

    for paragraph in filter(None, map(str.strip, _plain(text).split("\n\n"))):
        if paragraph == "Examples":
            lines += ["## Examples", ""]
        elif paragraph.startswith("{"):
            flush()
            lines += ["```json", paragraph, "```", ""]
        elif re.match(r"(kronos|torchrun|python|export|[A-Z_]+=\S*) ", paragraph):
            command, _, comment = paragraph.partition("   (")
            shell.append(f"{command}  # {comment.removesuffix(')')}" if comment else command)
        else:
            flush()
            lines += [_mark_names(paragraph.replace("<", "&lt;")), ""]
    flush()
    return lines
