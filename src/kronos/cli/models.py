"""``kronos models``: list, show, download and export checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kronos.cli import options
from kronos.cli.errors import CommandGroup
from kronos.formatting import megabytes, short_count

if TYPE_CHECKING:
    from rich.table import Table

    from kronos.zoo import CatalogEntry

_COLUMNS = {"name": 0, "parameters": 0, "context": 66, "tokenizer": 92, "licence": 76, "status": 0}
"""Columns of the list, with the terminal width from which each is shown."""

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Checkpoints of the zoo: list, show, download, export.",
    epilog=(
        "[bold]Examples[/bold]\n\n"
        "kronos models list\n\n"
        "kronos models show kronos-small\n\n"
        "kronos models download kronos-base\n\n"
        "kronos models export kronos-nano --output nano-onnx"
    ),
)


@app.command("list", epilog="[bold]Examples[/bold]\n\nkronos models list\n\nkronos models list --json | jq '.[].name'")
def list_(json: options.Json = False) -> None:
    """List all checkpoints: size, context, licence, and whether they are downloaded."""
    from kronos.cli.console import page, page_width, print_json
    from kronos.zoo import list_checkpoints

    documents = [_document(entry) for entry in list_checkpoints()]
    if json:
        print_json(documents)
        return
    from rich.text import Text

    hint = "kronos models show NAME shows details; kronos models download NAME downloads."
    page(_table(documents, page_width()), Text(f"\n{hint}", style="dim"))


@app.command(
    epilog="[bold]Examples[/bold]\n\nkronos models show kronos-nano\n\nkronos models show NeoQuasar/Kronos-base --json"
)
def show(name: options.CheckpointName, json: options.Json = False) -> None:
    """Show one checkpoint: architecture, tokenizer, revision, folder and model card."""
    from kronos.cli.console import page, print_json
    from kronos.cli.model_loading import unknown_checkpoint
    from kronos.zoo import find_entry

    entry = find_entry(name)
    if entry is None:
        raise unknown_checkpoint(name)
    document = _document(entry) | {"config": dict(entry.config)}
    if json:
        print_json(document)
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in _facts(document):
        grid.add_row(label, Text(value))
    parts: list[Any] = [Text(str(document["title"]), style="bold"), Text(), grid]
    if document["card"] and document["status"] == "bundled":
        from rich.markdown import Markdown

        parts += [Text(), Markdown(_without_front_matter(Path(document["card"]).read_text("utf-8")))]
    page(*parts)


@app.command(
    epilog="[bold]Examples[/bold]\n\nkronos models download kronos-small\n\n"
    "HF_ENDPOINT=https://hf-mirror.com kronos models download kronos-base   [dim](a mirror)[/dim]"
)
def download(name: options.CheckpointName, force: options.ForceDownload = False, json: options.Json = False) -> None:
    """Download a checkpoint, and the tokenizer of a model; an interrupted download continues."""
    from kronos.cli.console import print_json
    from kronos.cli.model_loading import check_name, download_with_progress

    check_name(name)
    folders = [str(folder) for folder in download_with_progress(name, show_progress=not json, force=force)]
    if json:
        print_json({"name": name, "folders": folders})
        return
    for folder in folders:
        typer.echo(folder)


@app.command(
    epilog="[bold]Examples[/bold]\n\nkronos models export kronos-nano --output nano-onnx\n\n"
    "kronos models export kronos-small --weights int8 --output small-int8\n\n"
    "kronos models export outputs/models/mine --output mine-onnx   [dim](a fine-tuned model)[/dim]"
)
def export(
    name: options.ExportedModel,
    output: options.ExportFolder,
    format: options.ExportFormat = "onnx",  # noqa: ARG001 (the only one so far)
    weights: options.WeightStorage = "float32",
    tokenizer: options.Tokenizer = None,
    json: options.Json = False,
) -> None:
    """Export a model and its tokenizer for other programs, such as a browser; needs the extra onnx."""
    from kronos.cli.console import print_json, spinner
    from kronos.cli.model_loading import ModelArgs, choose, load
    from kronos.onnx import export_onnx

    choice = choose(ModelArgs(name, tokenizer, "cpu", None, None))
    predictor = load(choice, show_progress=not json)
    with spinner(f"Exporting {choice.title}", enabled=not json):
        manifest = export_onnx(predictor, output, weights=weights)
    if json:
        print_json({"folder": str(output), **manifest.model_dump()})
        return
    for file, described in manifest.files.items():
        typer.echo(f"{output / file}  {megabytes(described.bytes)}")


def _document(entry: CatalogEntry) -> dict[str, Any]:
    """Return a checkpoint as a JSON document."""
    from kronos.zoo import find_cached

    local = find_cached(entry)
    card = _model_card(local.folder) if local else None
    status = (
        "bundled" if entry.bundled else "cached" if local else "to download" if entry.published else "not published"
    )
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
        "bytes": local.size if local else None,
        "folder": str(local.folder) if local else None,
        "card": str(card) if card else None,
        "revision": (local.revision if local else None) or entry.revision,
        "sha256": entry.sha256,
        "s2_attention": entry.s2_attention if entry.kind == "model" else None,
        "trained_until": dict(entry.trained_until) or None,
        "selected_until": dict(entry.selected_until) or None,
    }


def _model_card(folder: Path) -> Path | None:
    """Return the README of a checkpoint; the bundled model and tokenizer share one in their parent folder."""
    cards = (folder / "README.md", folder.parent / "README.md")
    return next((card for card in cards if card.is_file()), None)


def _without_front_matter(card: str) -> str:
    """Return a model card without the YAML metadata between two rules at its start."""
    start, rule, rest = card.partition("\n---\n")
    return rest if rule and start.startswith("---") else card


def _table(documents: list[dict[str, Any]], width: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    names = [name for name, minimum in _COLUMNS.items() if width >= minimum]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in names:
        table.add_column(name, justify="right" if name in ("parameters", "context") else "left", no_wrap=True)
    for document in documents:
        available = document["status"] in ("bundled", "cached")
        cells = {
            "name": Text(document["name"], style="bold" if available else ""),
            "parameters": short_count(document["parameters"]),
            "context": f"{document['context']:,}" if document["context"] else "",
            "tokenizer": document["tokenizer"] or "",
            "licence": document["licence"] if document["status"] != "not published" else "",
            "status": Text(_status(document), style="#26a69a" if available else "dim"),
        }
        table.add_row(*(cells[name] for name in names))
    return table


def _status(document: dict[str, Any]) -> str:
    """Return ``cached, 99 MB``, or the size of the download."""
    if document["bytes"]:
        return f"{document['status']}, {megabytes(document['bytes'])}"
    if document["status"] == "to download":
        return f"{megabytes(4 * document['parameters'])} to download"
    return str(document["status"])


def _dates(by_market: dict[str, str] | None) -> str | None:
    """Return ``fx 2017-01-01, crypto 2017-10-01``, or the date alone if it is the same for all markets."""
    if not by_market:
        return None
    return ", ".join(f"{market} {day}".removeprefix("all ") for market, day in by_market.items())


def _facts(document: dict[str, Any]) -> list[tuple[str, str]]:
    context = document["context"]
    facts: list[tuple[str, Any]] = [
        ("name", document["name"]),
        ("kind", document["kind"]),
        ("parameters", f"{short_count(document['parameters'])} ({document['parameters']:,})"),
        ("context", f"{context:,} candles, history and horizon together" if context else None),
        ("tokenizer", document["tokenizer"]),
        ("licence", document["licence"]),
        ("trained until", _dates(document["trained_until"])),
        ("selected until", _dates(document["selected_until"])),
        ("status", _status(document)),
        ("folder", document["folder"]),
        ("card", document["card"]),
        ("hub", f"https://huggingface.co/{document['hub_id']}" if document["hub_id"] else None),
        ("revision", document["revision"]),
        ("sha256", document["sha256"]),
        ("architecture", ", ".join(f"{key} {value}" for key, value in document["config"].items())),
    ]
    return [(label, str(value)) for label, value in facts if value is not None]
