"""Export of a model and its tokenizer: four ONNX files, the manifest, and copies of the calibration and the card.

- The graphs are built from the networks' current weights, so adapters (LoRA) are merged and changed weights are those
  that are exported.
- A folder is written as a whole or not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from kronos import provenance
from kronos.atomic import atomic_folder
from kronos.errors import ParameterError
from kronos.formatting import expand_user, join_names
from kronos.inference import KronosPredictor
from kronos.inference.metadata import model_title, weights_info
from kronos.nn import Kronos, KronosTokenizer
from kronos.nn.model import CROSS_HEADS
from kronos.onnx.graph import OPSET, GraphBuilder, WeightType, import_onnx
from kronos.onnx.manifest import FORMAT_VERSION, GRAPHS, ExportedFile, GraphShapes, Manifest, SourceWeights
from kronos.onnx.networks import decode_graph, encode_graph, fine_graph, step_graph
from kronos.zoo import DEFAULT_MODEL, Cutoffs, trained_and_selected_until
from kronos.zoo.checkpoint import CALIBRATION

_CARD = "README.md"


def export_onnx(
    model: KronosPredictor | str | Path = DEFAULT_MODEL,
    folder: str | Path = "onnx",
    *,
    weights: WeightType = "float32",
    tokenizer: str | Path | None = None,
    local_files_only: bool = False,
) -> Manifest:
    """Export a model with its tokenizer to ONNX.

    Args:
        model: A predictor, or the zoo name, hub id or folder of a model.
        folder: Folder to write; it must be new or empty.
        weights: How matrices and tables are stored: ``float32``; ``float16``, which is exact if they are float16
            values, as kronos-nano's are; or ``int8``, with one scale per output channel. All are computed in float32.
            The tokenizer's are always float32: its codes are decided by signs.
        tokenizer: Replaces the tokenizer that belongs to the model; only with a name or folder.
        local_files_only: Do not use the network.

    Returns:
        The manifest.

    Raises:
        CheckpointError: If the weights cannot be found.
        ParameterError: If the package ``onnx`` is missing, an argument is invalid, or the weights are too large for
            one file.
        StorageError: If the folder cannot be written, or is not empty.
    """
    if weights not in get_args(WeightType):
        raise ParameterError(f"Invalid weights {weights!r}: choose {join_names(get_args(WeightType))}.")
    import_onnx()
    if isinstance(model, KronosPredictor):
        if tokenizer is not None:
            raise ParameterError("A predictor has its tokenizer: pass tokenizer only with the name of a model.")
        predictor = model
    else:
        predictor = KronosPredictor.from_pretrained(
            model, tokenizer=tokenizer, device="cpu", local_files_only=local_files_only
        )
    description = _describe(predictor, weights)
    with atomic_folder(expand_user(folder)) as building:
        for name in GRAPHS:
            stored: WeightType = "float32" if name.startswith("tokenizer") else weights
            (building / name).write_bytes(_build(name, predictor, stored, description))
        _copy_documents(predictor, description, building)
        files = {path.name: _file(path) for path in sorted(building.iterdir())}
        manifest = description.model_copy(update={"files": files})
        manifest.save(building)
    return manifest


def _build(name: str, predictor: KronosPredictor, weights: WeightType, description: Manifest) -> bytes:
    """The bytes of one graph's file."""
    model, tokenizer, context = predictor.model, predictor.tokenizer, predictor.max_context
    graph = GraphBuilder(name.removesuffix(".onnx"), weights)
    add: dict[str, Callable[[], None]] = {
        "tokenizer-encode.onnx": lambda: encode_graph(graph, tokenizer, context),
        "tokenizer-decode.onnx": lambda: decode_graph(graph, tokenizer, context),
        "step.onnx": lambda: step_graph(graph, model, context),
        "fine.onnx": lambda: fine_graph(graph, model, context),
    }
    add[name]()
    return graph.model(description.properties())


def _describe(predictor: KronosPredictor, weights: WeightType) -> Manifest:
    """The manifest, as yet without files."""
    model, tokenizer = predictor.model, predictor.tokenizer
    located = model.located if model.unchanged else None
    card, cutoffs = _card(predictor), _cutoffs(predictor)
    d, attention = model.norm.weight.shape[0], int(model.config["n_heads"])
    return Manifest(
        format="kronos-onnx",
        format_version=FORMAT_VERSION,
        name=model_title(model),
        created=provenance.now_utc(),
        model=_source(model),
        tokenizer=_source(tokenizer),
        normalisation=tokenizer.normalisation,
        clip=predictor.clip,
        context=predictor.max_context,
        least_history=predictor.least_history,
        s1_bits=model.s1_bits,
        s2_bits=model.s2_bits,
        s2_attention=model.s2_attention,
        shapes=GraphShapes(
            layers=len(model.transformer),
            heads=attention,
            head_width=d // attention,
            width=d,
            cross_heads=CROSS_HEADS,
            cross_width=d // CROSS_HEADS,
            s1_vocabulary=2**model.s1_bits,
            s2_vocabulary=2**model.s2_bits,
        ),
        weights=weights,
        opset=OPSET,
        licence=located.entry.licence if located is not None and located.entry is not None else None,
        card=None if card is None else _CARD,
        calibration=CALIBRATION if located is not None and located.calibration is not None else None,
        trained_until=None if cutoffs is None else dict(cutoffs[0]),
        selected_until=None if cutoffs is None else dict(cutoffs[1]),
        files={},
    )


def _source(network: Kronos | KronosTokenizer) -> SourceWeights:
    """Origin of a network's weights."""
    info = weights_info(network)
    return SourceWeights(ref=info["ref"], revision=info.get("revision"), sha256=info.get("sha256"))


def _card(predictor: KronosPredictor) -> Path | None:
    """The README next to the weights; the bundled model's is in the folder above."""
    located = predictor.model.located
    if located is None:
        return None
    folders = [located.folder] + ([located.folder.parent] if located.folder.name == "model" else [])
    return next((folder / _CARD for folder in folders if (folder / _CARD).is_file()), None)


def _cutoffs(predictor: KronosPredictor) -> tuple[Cutoffs, Cutoffs] | None:
    """Training and selection cutoffs of the model; unknown once its weights have changed."""
    model = predictor.model
    if model.located is None or not model.unchanged:
        return None
    return trained_and_selected_until(model.located)


def _copy_documents(predictor: KronosPredictor, description: Manifest, folder: Path) -> None:
    card, located = _card(predictor), predictor.model.located
    if description.card is not None and card is not None:
        (folder / _CARD).write_bytes(card.read_bytes())
    if description.calibration is not None and located is not None and located.calibration is not None:
        (folder / CALIBRATION).write_bytes(located.calibration.read_bytes())


def _file(path: Path) -> ExportedFile:
    data = path.read_bytes()
    return ExportedFile(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
