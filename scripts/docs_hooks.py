"""MkDocs hooks: the command reference, pages from files outside docs/, and links to files of the repository.

- The command reference is rendered from the Typer application at each build, so it cannot be out of date.
- CONTRIBUTING.md, CHANGELOG.md, SECURITY.md and the model card stay where a git host expects them; the site includes
  them.
- Guides link to files of the repository by relative paths, which work on a git host. Here, each linked file becomes a
  page that shows it, and the link points to that page. A link to a file that does not exist fails the strict build.
"""

from __future__ import annotations

import importlib
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).resolve().parent))
from cli_reference import CommandPage, command_pages

ROOT = Path(__file__).resolve().parents[1]
INCLUDED = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "src/kronos/zoo/bundled/kronos-nano/README.md": "models/kronos-nano.md",
}
COMMAND_REFERENCE = "cli/index.md"  # what mkdocs.yml names; replaced by the tree of commands
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^()\s#]+)(#[^()\s]*)?(?=\))")
_LANGUAGES = {".py": "python", ".md": "markdown", ".yaml": "yaml", ".toml": "toml", ".service": "ini", ".json": "json"}


def on_config(config: Any) -> Any:
    """Replace the entry of the command reference by one entry for each command."""
    from kronos.cli import app

    config["nav"] = _expand(config["nav"], command_pages(app))
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the command reference, the included files and a page for each file of the repository that a page links to."""
    from kronos.cli import app

    pages = {page.path: page.markdown for page in command_pages(app)}
    pages |= {page: (ROOT / name).read_text("utf-8") for name, page in INCLUDED.items()}
    texts = {f"docs/{file.src_uri}": file.content_string for file in files.documentation_pages()}
    texts |= {name: pages[page] for name, page in INCLUDED.items()}
    for name, text in texts.items():
        for target, _ in _LINK.findall(text):
            linked = _resolve(name, target)
            page = _page_of(linked)
            if page is not None and page not in pages and not files.get_file_from_path(page):
                pages[page] = _show(linked)
    for page, markdown in pages.items():
        files.append(File.generated(config, page, content=markdown))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point links to files outside docs/ to the pages that show them, and complete the pages of the API."""
    del config, files
    markdown += _shadowed(markdown)
    names = {included: name for name, included in INCLUDED.items()}
    here = page.file.src_uri
    name = names.get(here, f"docs/{here}")

    def replace(match: re.Match[str]) -> str:
        target = _page_of(_resolve(name, match[1]))
        return match[0] if target is None else posixpath.relpath(target, posixpath.dirname(here)) + (match[2] or "")

    return _LINK.sub(replace, markdown)


def _shadowed(markdown: str) -> str:
    """Return blocks for the exports of a package that have the name of the module they come from.

    For Griffe such a name means the module (``kronos.metrics.pit_uniformity``); in Python it is the function.
    """
    blocks = ""
    for package in re.findall(r"^::: (kronos(?:\.\w+)?)$", markdown, re.MULTILINE):
        exports = importlib.import_module(package)
        for name in exports.__all__:
            module = f"{package}.{name}"
            if module in sys.modules and getattr(exports, name) is not sys.modules[module]:
                blocks += f"\n::: {module}.{name}\n    options:\n      show_root_heading: true\n"
                blocks += "      show_root_toc_entry: true\n      show_root_full_path: false\n"
    return blocks


def _resolve(name: str, target: str) -> str:
    """Return the path in the repository that a link in a file points to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), target))


def _page_of(path: str) -> str | None:
    """Return the page that shows a file or folder of the repository; None where the link needs no change."""
    if path in INCLUDED:
        return INCLUDED[path]
    if path.startswith("..") or not (ROOT / path).exists():
        return None
    if path.startswith("docs/"):
        inside = path.removeprefix("docs/")
        # Text that is no Markdown is shown too: a browser would download it.
        shown = (ROOT / path).is_dir() or Path(path).suffix not in {".md", ".png", ".svg"}
        return f"repository/{path}.md" if shown else inside
    if (ROOT / path).suffix in {".png", ".svg"}:
        return None
    return f"repository/{path.lstrip('.')}.md"


def _show(path: str) -> str:
    """Return a page with the contents of a text file, or of the files of a folder."""
    where = ROOT / path
    names = sorted(file.name for file in where.iterdir() if file.is_file()) if where.is_dir() else [""]
    parts = ["---", "search:", "  exclude: true", "---", f"# {path}", ""]
    for name in names:
        file = where / name
        fence = f"````{_LANGUAGES.get(file.suffix, 'text')}"
        parts += [*([f"## {name}", ""] if name else []), fence, file.read_text("utf-8").rstrip(), "````", ""]
    return "\n".join(parts)


def _expand(nav: list[Any], pages: list[CommandPage]) -> list[Any]:
    """Replace the entry of the command reference in a navigation."""
    expanded: list[Any] = []
    for entry in nav:
        [(title, value)] = entry.items()
        if value == COMMAND_REFERENCE:
            expanded.append({title: _command_nav(pages)})
        elif isinstance(value, list):
            expanded.append({title: _expand(value, pages)})
        else:
            expanded.append(entry)
    return expanded


def _command_nav(pages: list[CommandPage]) -> list[Any]:
    """List the commands, and under each group its commands."""
    entries: list[Any] = [{"Overview": COMMAND_REFERENCE}]
    for page in (one for one in pages if len(one.words) == 2):
        children = [one for one in pages if one.words[:2] == page.words and len(one.words) > 2]
        if children:
            nested: list[Any] = [{"Overview": page.path}, *({one.title: one.path} for one in children)]
            entries.append({page.title: nested})
        else:
            entries.append({page.title: page.path})
    return entries
