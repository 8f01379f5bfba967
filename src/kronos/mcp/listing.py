"""The work behind ``list_models`` and ``list_candles``: what there is, without loading any of it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from kronos.errors import CheckpointError
from kronos.mcp.answers import CandleFile, Files, ModelFacts, Models
from kronos.zoo import Located, ZooEntry, cached, catalogue, describe, find, locate

if TYPE_CHECKING:
    from kronos.mcp.desk import Desk

_MOST = 200  # files listed


def list_models(desk: Desk) -> Models:
    """Every model that has a name, and the default first where it has none of these."""
    facts = [_named(entry, entry.name == desk.title) for entry in catalogue() if entry.kind == "model"]
    if not any(one.default for one in facts):
        located = locate(desk.default, kind="model", local_files_only=True)
        pairing = describe(located)
        facts.insert(0, _facts(desk.title, None, located, "here", True, pairing.context))
    return Models(models=facts, default=desk.title)


def tell_models(models: Models) -> str:
    """One line a model."""
    lines = []
    for one in models.models:
        size = "" if one.parameters is None else f", {one.parameters / 1e6:.3g} M parameters"
        least = "" if one.least_history is None else f", needs {one.least_history} candles of history"
        used = " (used where a call names none)" if one.default else ""
        lines.append(f"- {one.name}{used}: {one.status}{size}, context {one.context}{least}, licence {one.licence}")
    return "\n".join(lines)


def list_candles(desk: Desk) -> Files:
    """The files in the data folder, and the source of symbols."""
    files = [CandleFile(file=one.path, bytes=one.size) for one in desk.library.files(_MOST)]
    configured = desk.settings.source is not None
    return Files(
        files=files,
        complete=len(files) < _MOST,
        source=desk.source.name if configured else None,
        source_simulated=configured and desk.source.simulated,
    )


def tell_candles(found: Files) -> str:
    """One line a file."""
    lines = [f"- {one.file} ({max(1, one.bytes >> 10):,} KiB)" for one in found.files]
    lines = lines or ["There are no candle files in the data folder."]
    if not found.complete:
        lines.append(f"These are the first {len(found.files)}; there may be more.")
    simulated = ", whose candles may be SIMULATED" if found.source_simulated else ""
    lines.append(f"Symbols come from {found.source}{simulated}." if found.source else "No source of symbols is set.")
    return "\n".join(lines)


def _named(entry: ZooEntry, default: bool) -> ModelFacts:
    """A model of the catalogue; one whose tokenizer is missing is not here."""
    partner = find(entry.tokenizer) if entry.tokenizer else None
    located = None
    if cached(entry) is not None and (partner is None or cached(partner) is not None):
        with suppress(CheckpointError):  # what is damaged is not here
            located = locate(entry.name, kind="model", local_files_only=True)
    status: Literal["bundled", "here", "to download", "not published"] = "to download"
    if located is not None:
        status = "bundled" if entry.bundled else "here"
    elif not entry.published:
        status = "not published"
    return _facts(entry.name, entry, located, status, default, entry.context)


def _facts(
    name: str,
    entry: ZooEntry | None,
    located: Located | None,
    status: Literal["bundled", "here", "to download", "not published"],
    default: bool,
    context: int | None,
) -> ModelFacts:
    return ModelFacts(
        name=name,
        default=default,
        here=located is not None,
        status=status,
        parameters=entry.parameters if entry else None,
        context=context,
        least_history=None if located is None else describe(located).least_history,
        licence=entry.licence if entry else None,
        calibration=located is not None and located.calibration is not None,
    )
