"""The manifest of an ONNX export, ``kronos.json``: what a program has to know to forecast, and the files' hashes.

`Manifest.load` reads it, and `Manifest.read` a file of the folder, only if its size and SHA-256 are the recorded ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kronos.errors import CheckpointError
from kronos.zoo import Normalisation, S2Attention
from kronos.zoo.checkpoint import RECORD, read_json

FORMAT_VERSION: Literal[1] = 1
GRAPHS = ("tokenizer-encode.onnx", "tokenizer-decode.onnx", "step.onnx", "fine.onnx")

_Count = Annotated[int, Field(ge=1)]
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_FileName = Annotated[str, Field(pattern=r"^[\w-][\w.-]*$")]
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class SourceWeights(BaseModel):
    """Where exported weights come from.

    Attributes:
        ref: Name of the checkpoint; None for a network that was never saved.
        revision: Commit on the hub, if it was downloaded.
        sha256: SHA-256 of its ``model.safetensors``; None if it was never saved, or has changed since it was loaded.
    """

    model_config = _FROZEN

    ref: str | None = None
    revision: str | None = None
    sha256: _Digest | None = None


class GraphShapes(BaseModel):
    """Sizes of the graphs' axes that are fixed.

    Attributes:
        layers: L.
        heads: h.
        head_width: e.
        width: d.
        cross_heads: Heads of the s2 attention.
        cross_width: ec.
        s1_vocabulary: V1.
        s2_vocabulary: V2.
    """

    model_config = _FROZEN

    layers: _Count
    heads: _Count
    head_width: _Count
    width: _Count
    cross_heads: _Count
    cross_width: _Count
    s1_vocabulary: _Count
    s2_vocabulary: _Count


class ExportedFile(BaseModel):
    """Size and SHA-256 of a file."""

    model_config = _FROZEN

    bytes: Annotated[int, Field(ge=0)]
    sha256: _Digest


class Manifest(BaseModel):
    """Description of an export.

    Attributes:
        format: Always ``kronos-onnx``.
        format_version: Version of the manifest and of the graphs' inputs and outputs.
        name: Name of the model in forecasts.
        created: Time of the export.
        model: Origin of the model's weights.
        tokenizer: Origin of the tokenizer's weights.
        normalisation: Normalisation of the candles; see `kronos.normalisation`.
        clip: Bound of normalised candles.
        context: Maximum of history plus horizon, in candles.
        least_history: Minimum history that the model was trained with, in candles.
        s1_bits: Bits of the coarse token.
        s2_bits: Bits of the fine token.
        s2_attention: Form of the s2 attention; both forms have the same inputs and outputs.
        shapes: Sizes of the fixed axes.
        weights: How the model's matrices and tables are stored; the tokenizer's are float32.
        opset: Version of ONNX's operations.
        licence: Licence of the weights, if known.
        card: Name of the model card's file, if there is one.
        calibration: Name of the calibration's file, if one ships with the model.
        trained_until: First date whose candles were not used for training, by market or ``all``; None if unknown.
        selected_until: First date whose candles were not used for model selection.
        files: Size and hash of every other file of the folder.
    """

    model_config = _FROZEN

    format: Literal["kronos-onnx"]
    format_version: Literal[1]
    name: Annotated[str, Field(min_length=1)]
    created: str
    model: SourceWeights
    tokenizer: SourceWeights
    normalisation: Normalisation
    clip: Annotated[float, Field(gt=0)]
    context: Annotated[int, Field(ge=2)]
    least_history: _Count
    s1_bits: _Count
    s2_bits: _Count
    s2_attention: S2Attention
    shapes: GraphShapes
    weights: Literal["float32", "float16", "int8"]
    opset: _Count
    licence: str | None
    card: _FileName | None
    calibration: _FileName | None
    trained_until: Mapping[str, str] | None
    selected_until: Mapping[str, str] | None
    files: Mapping[_FileName, ExportedFile]

    @classmethod
    def load(cls, folder: str | Path) -> Manifest:
        """Read the manifest of a folder.

        Raises:
            CheckpointError: If the folder has none, or it is another program's or damaged.
        """
        path = Path(folder) / RECORD
        fix = "pass a folder that 'kronos models export' wrote"
        if not path.is_file():
            raise CheckpointError(f"{folder} has no {RECORD}: {fix}.")
        content = read_json(path)
        if content.get("format") != "kronos-onnx":
            raise CheckpointError(f"{path} is not the manifest of an ONNX export: {fix}.")
        if content.get("format_version") != FORMAT_VERSION:
            raise CheckpointError(
                f"{path} has the format version {content.get('format_version')!r}; this release reads version "
                f"{FORMAT_VERSION}: export the model again."
            )
        try:
            manifest = cls.model_validate_json(json.dumps(content))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise CheckpointError(f"{path}: invalid {place} ({first['msg']}): export the model again.") from error
        missing = [name for name in GRAPHS if name not in manifest.files]
        if missing:
            raise CheckpointError(f"{path} does not list {missing[0]}: export the model again.")
        return manifest

    def save(self, folder: Path) -> None:
        """Write it to a folder."""
        (folder / RECORD).write_text(self.model_dump_json(indent=2) + "\n", "utf-8")

    def read(self, folder: str | Path, name: str) -> bytes:
        """Read a file of the export.

        Args:
            folder: The folder of the manifest.
            name: Name of a listed file.

        Raises:
            CheckpointError: If it is missing, or not the file that was exported.
        """
        path, expected = Path(folder) / name, self.files[name]
        try:
            same_size = path.stat().st_size == expected.bytes
            data = path.read_bytes() if same_size else b""
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise CheckpointError(f"{path} cannot be read ({reason}): export the model again.") from error
        if not same_size or hashlib.sha256(data).hexdigest() != expected.sha256:
            raise CheckpointError(
                f"{path} is not the file that was exported: its {'SHA-256' if same_size else 'size'} differs from the "
                f"one in {RECORD}. Export the model again, or copy the whole folder again."
            )
        return data

    def properties(self) -> dict[str, str]:
        """What every graph has in its own metadata."""
        values = {
            "kronos.format_version": str(self.format_version),
            "kronos.name": self.name,
            "kronos.model_sha256": self.model.sha256 or "",
            "kronos.tokenizer_sha256": self.tokenizer.sha256 or "",
            "kronos.normalisation": self.normalisation,
            "kronos.context": str(self.context),
            "kronos.weights": self.weights,
            "kronos.licence": self.licence or "",
        }
        return {name: value for name, value in values.items() if value}
