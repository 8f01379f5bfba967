"""``kronos models``: what has a name, what belongs to it, what is here; downloading it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kronos.cli.errors import Commands

if TYPE_CHECKING:
    from rich.table import Table

    from kronos.zoo import CatalogEntry

# The columns of the list, with the width below which they leave.
_COLUMNS = {"name": 0, "parameters": 0, "context": 66, "tokenizer": 92, "licence": 76, "here": 0}

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="The checkpoints that have a name: list, show, download.",
    epilog=(
        "[bold]Examples[/bold]\n\n"
        "kronos models list\n\n"
        "kronos models show kronos-small\n\n"
        "kronos models download kronos-base"
    ),
)


def _names(incomplete: str) -> list[str]:
    """Names that complete an argument."""
    from kronos.zoo import list_checkpoints

    return [entry.name for entry in list_checkpoints() if entry.name.startswith(incomplete.lower())]


Name = Annotated[
    str, typer.Argument(help="Zoo name in any case, or hub id.", autocompletion=_names, show_default=False)
]


@app.command("list", epilog="[bold]Examples[/bold]\n\nkronos models list\n\nkronos models list --json | jq '.[].name'")
def list_(json: Json = False) -> None:
    """List every checkpoint: size, context, licence, and whether it is here."""
    from kronos.cli.console import emit, print_json, stdout
    from kronos.zoo import list_checkpoints

    facts = [_facts(entry) for entry in list_checkpoints()]
    if json:
        print_json(facts)
        return
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    console = stdout()
    hint = "kronos models show NAME tells more, kronos models download NAME fetches."
    emit(console, Padding(Group(_table(facts, console.width - 2), Text(f"\n{hint}", style="dim")), 1))


@app.command(
    epilog="[bold]Examples[/bold]\n\nkronos models show kronos-nano\n\nkronos models show NeoQuasar/Kronos-base --json"
)
def show(name: Name, json: Json = False) -> None:
    """Show one checkpoint: shape, tokenizer, revision, where it lies."""
    from kronos.cli.console import emit, print_json, stdout

    facts = _facts(_entry(name)) | {"config": dict(_entry(name).config)}
    if json:
        print_json(facts)
        return
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in _lines(facts):
        grid.add_row(label, Text(value))
    parts: list[Any] = [Text(str(facts["title"]), style="bold"), Text(), grid]
    if facts["card"] and facts["status"] == "bundled":
        from rich.markdown import Markdown

        parts += [Text(), Markdown(_without_front_matter(Path(facts["card"]).read_text("utf-8")))]
    emit(stdout(), Padding(Group(*parts), 1))


@app.command(
    epilog="[bold]Examples[/bold]\n\nkronos models download kronos-small\n\n"
    "HF_ENDPOINT=https://hf-mirror.com kronos models download kronos-base   [dim](a mirror)[/dim]"
)
def download(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Again, even if it is here.")] = False,
    json: Json = False,
) -> None:
    """Download a checkpoint, and with a model its tokenizer; interrupted downloads continue."""
    from kronos.cli.console import print_json
    from kronos.cli.model_loading import check_name, download_shown

    check_name(name)
    folders = [str(folder) for folder in download_shown(name, wanted=not json, force=force)]
    if json:
        print_json({"name": name, "folders": folders})
        return
    for folder in folders:
        typer.echo(folder)


def _entry(name: str) -> CatalogEntry:
    """The checkpoint of that name.

    Raises:
        ParameterError: With the nearest name, if there is none.
    """
    from kronos.errors import ParameterError
    from kronos.zoo import find, nearest

    entry = find(name)
    if entry is None:
        near = nearest(name)
        mend = f"did you mean {near}?" if near else "'kronos models list' shows them all."
        raise ParameterError(f"No checkpoint is called '{name}'; {mend}")
    return entry


def _facts(entry: CatalogEntry) -> dict[str, Any]:
    """What is known about a checkpoint, ready for JSON."""
    from kronos.zoo import cached

    here = cached(entry)
    card = _card(here.folder) if here else None
    status = "bundled" if entry.bundled else "cached" if here else "to download" if entry.published else "not published"
    return {
        "name": entry.name,
        "title": entry.title,
        "kind": entry.kind,
        "hub_id": entry.hub_id,
        "parameters": entry.parameters,
        "context": entry.context,
        "tokenizer": entry.tokenizer,
        "licence": entry.licence,
        "status": status,
        "bytes": here.size if here else None,
        "folder": str(here.folder) if here else None,
        "card": str(card) if card else None,
        "revision": (here.revision if here else None) or entry.revision,
        "sha256": entry.sha256,
        "s2_attention": entry.s2_attention if entry.kind == "model" else None,
        "trained_until": dict(entry.trained_until) or None,
        "selected_until": dict(entry.selected_until) or None,
    }


def _without_front_matter(card: str) -> str:
    """A card without the metadata that hubs keep between two rules at its start."""
    start, rule, rest = card.partition("\n---\n")
    return rest if rule and start.startswith("---") else card


def _card(folder: Path) -> Path | None:
    """The README that describes a checkpoint: in its folder, or beside the two of a bundled one."""
    cards = (folder / "README.md", folder.parent / "README.md")
    return next((card for card in cards if card.is_file()), None)


def _table(facts: list[dict[str, Any]], width: int) -> Table:
    """One row a checkpoint; columns leave where the terminal is narrow, so that nothing is cut."""
    from rich.table import Table
    from rich.text import Text

    from kronos.cli.model_loading import short_count

    shown = [name for name, least in _COLUMNS.items() if width >= least]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in shown:
        table.add_column(name, justify="right" if name in ("parameters", "context") else "left", no_wrap=True)
    for fact in facts:
        here = fact["status"] in ("bundled", "cached")
        cells = {
            "name": Text(fact["name"], style="bold" if here else ""),
            "parameters": short_count(fact["parameters"]),
            "context": f"{fact['context']:,}" if fact["context"] else "",
            "tokenizer": fact["tokenizer"] or "",
            "licence": fact["licence"] if fact["status"] != "not published" else "",
            "here": Text(_status(fact), style="#26a69a" if here else "dim"),
        }
        table.add_row(*(cells[name] for name in shown))
    return table


def _status(fact: dict[str, Any]) -> str:
    """``cached, 99 MB``; what a download would take, where it is not here."""
    if fact["bytes"]:
        return f"{fact['status']}, {_megabytes(fact['bytes'])}"
    if fact["status"] == "to download":
        return f"{_megabytes(4 * fact['parameters'])} to download"
    return str(fact["status"])


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e7 else f"{size / 1e6:.1f} MB"


def _dates(told: dict[str, str] | None) -> str | None:
    """``fx 2017-01-01, crypto 2017-10-01``; the date alone if it is every market's."""
    if not told:
        return None
    return ", ".join(f"{market} {day}".removeprefix("all ") for market, day in told.items())


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Labels and texts of one checkpoint."""
    from kronos.cli.model_loading import short_count

    link = f"https://huggingface.co/{facts['hub_id']}" if facts["hub_id"] else None
    told: list[tuple[str, Any]] = [
        ("name", facts["name"]),
        ("kind", facts["kind"]),
        ("parameters", f"{short_count(facts['parameters'])} ({facts['parameters']:,})"),
        ("context", f"{facts['context']:,} candles, history and horizon together" if facts["context"] else None),
        ("tokenizer", facts["tokenizer"]),
        ("licence", facts["licence"]),
        ("trained until", _dates(facts["trained_until"])),
        ("selected until", _dates(facts["selected_until"])),
        ("here", _status(facts)),
        ("folder", facts["folder"]),
        ("card", facts["card"]),
        ("hub", link),
        ("revision", facts["revision"]),
        ("sha256", facts["sha256"]),
        ("shape", ", ".join(f"{key} {value}" for key, value in facts["config"].items())),
    ]
    return [(label, str(value)) for label, value in told if value is not None]
