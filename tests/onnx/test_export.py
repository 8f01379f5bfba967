"""The files of an export: one copy of the weights, a manifest, and refusal of files that are not the exported ones."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import onnx
import pytest
import torch

from kronos import KronosPredictor
from kronos.errors import CheckpointError, ParameterError, StorageError
from kronos.onnx import Manifest, OnnxForecaster, export_onnx
from networks import random_model, random_tokenizer

GRAPHS = {"tokenizer-encode.onnx", "tokenizer-decode.onnx", "step.onnx", "fine.onnx"}


def small_predictor(seed: int = 1) -> KronosPredictor:
    return KronosPredictor(random_model(seed), random_tokenizer(seed), device="cpu", max_context=48)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    export_onnx(small_predictor(), tmp_path / "out")
    return tmp_path / "out"


def exchange(folder: Path, name: str, data: bytes) -> None:
    """Replace a file, and enter its size and hash in the manifest."""
    (folder / name).write_bytes(data)
    document = json.loads((folder / "kronos.json").read_text("utf-8"))
    document["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "kronos.json").write_text(json.dumps(document), "utf-8")


def test_the_packages_are_an_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ParameterError, match="install the extra 'onnx'"):
        export_onnx(small_predictor(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_running_needs_the_extra(monkeypatch, folder):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ParameterError, match="install the extra 'onnx'"):
        OnnxForecaster(folder)


def test_the_bundled_models_manifest(tmp_path):
    predictor = KronosPredictor.from_pretrained(device="cpu")
    manifest = export_onnx(predictor, tmp_path / "out")
    assert manifest == Manifest.load(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*manifest.files, "kronos.json"}
    assert set(manifest.files) == {*GRAPHS, "calibration.json", "README.md"}
    assert (manifest.name, manifest.normalisation, manifest.s2_attention) == ("kronos-nano", "changes", "causal")
    assert (manifest.context, manifest.least_history, manifest.clip) == (256, 8, 5)
    assert (manifest.shapes.layers, manifest.shapes.heads, manifest.shapes.cross_width) == (4, 3, 48)
    assert manifest.licence == "MIT"
    assert manifest.trained_until is not None
    assert manifest.trained_until["fx 1h"] == "2020-06-30"
    assert manifest.model.sha256 is not None
    assert manifest.tokenizer.sha256 is not None
    parameters = sum(p.numel() for net in (predictor.model, predictor.tokenizer) for p in net.parameters())
    stored = sum(manifest.files[name].bytes for name in GRAPHS)
    assert stored < 1.15 * 4 * parameters  # the weights, once, rotations and operations
    for name in GRAPHS:
        properties = {entry.key: entry.value for entry in onnx.load(tmp_path / "out" / name).metadata_props}
        assert properties["kronos.name"] == "kronos-nano"
        assert properties["kronos.model_sha256"] == manifest.model.sha256
        assert (properties["kronos.licence"], properties["kronos.context"]) == ("MIT", "256")


def test_inputs_and_outputs_are_the_contracts(folder):
    def axes(values) -> dict[str, list]:
        return {
            value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
            for value in values
        }

    L, h, e, d, V = 2, 2, 16, 32, 32
    graph = onnx.load(folder / "step.onnx").graph
    assert axes(graph.input) == {
        **{"s1": ["S", "t"], "s2": ["S", "t"], "stamps": ["t", 5], "position": []},
        **{f"shared_{part}": [L, h, "P", e] for part in ("keys", "values")},
        **{f"own_{part}": [L, "S", h, "u", e] for part in ("keys", "values")},
    }
    assert axes(graph.output) == {
        **{"hidden": ["S", d], "s1_logits": ["S", V]},
        **{part: [L, "S", h, "t", e] for part in ("keys", "values")},
        **{f"cross_{part}": ["S", 4, "t", d // 4] for part in ("keys", "values")},
    }
    graph = onnx.load(folder / "fine.onnx").graph
    assert axes(graph.input) == {
        **{"hidden": ["N", d], "s1": ["S"], "position": []},
        **{f"shared_cross_{part}": [4, "P", d // 4] for part in ("keys", "values")},
        **{f"own_cross_{part}": ["S", 4, "u", d // 4] for part in ("keys", "values")},
    }
    assert axes(graph.output) == {"s2_logits": ["S", V]}
    graph = onnx.load(folder / "tokenizer-encode.onnx").graph
    assert (axes(graph.input), axes(graph.output)) == ({"x": ["B", "T", 6]}, {"s1": ["B", "T"], "s2": ["B", "T"]})
    graph = onnx.load(folder / "tokenizer-decode.onnx").graph
    assert axes(graph.input) == {"history_s1": [1, "P"], "history_s2": [1, "P"], "s1": ["S", "H"], "s2": ["S", "H"]}
    assert axes(graph.output) == {"last": [6], "values": ["S", "H", 6]}


def test_a_saved_model_is_exported_by_its_folder(tmp_path):
    predictor = small_predictor()
    predictor.tokenizer.save_pretrained(tmp_path / "mine" / "tokenizer")
    predictor.model.save_pretrained(tmp_path / "mine" / "model", context=40, tokenizer="../tokenizer")
    manifest = export_onnx(tmp_path / "mine", tmp_path / "out")
    assert (manifest.name, manifest.context, manifest.calibration, manifest.licence) == ("mine", 40, None, None)
    assert manifest.s2_attention == "published"
    assert manifest.model.sha256 is not None


def test_changed_weights_have_no_hash_and_no_calibration(tmp_path):
    predictor = KronosPredictor.from_pretrained(device="cpu")
    with torch.no_grad():
        predictor.model.norm.weight.mul_(1.01)
    manifest = export_onnx(predictor, tmp_path / "out")
    assert (manifest.name, manifest.model.sha256, manifest.calibration) == ("kronos-nano (changed)", None, None)
    assert manifest.trained_until is None


def test_a_tampered_file_is_refused(folder):
    data = bytearray((folder / "fine.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "fine.onnx").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"fine.onnx is not the file that was exported: its SHA-256 differs"):
        OnnxForecaster(folder)


def test_a_truncated_or_missing_file_is_refused(folder):
    (folder / "step.onnx").write_bytes((folder / "step.onnx").read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"step.onnx is not the file that was exported: its size differs"):
        OnnxForecaster(folder)
    (folder / "step.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"step.onnx cannot be read \(No such file"):
        OnnxForecaster(folder)


def test_a_graph_of_another_export_is_refused(folder, tmp_path):
    """Even if its hash was entered."""
    predictor = small_predictor()
    predictor.max_context = 40
    export_onnx(predictor, tmp_path / "other")
    exchange(folder, "fine.onnx", (tmp_path / "other" / "fine.onnx").read_bytes())
    with pytest.raises(CheckpointError, match=r"belongs to another export \(kronos.context is '40'\)"):
        OnnxForecaster(folder)


def test_a_file_that_is_no_graph_is_refused(folder):
    exchange(folder, "fine.onnx", b"not a graph")
    with pytest.raises(CheckpointError, match=r"fine.onnx cannot be loaded \(.*\): export it again"):
        OnnxForecaster(folder)


def test_a_graph_of_another_program_is_refused(folder):
    """With the hash of the exported file, and with its own."""
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "foreign", [x], [y])
    opset = [onnx.helper.make_opsetid("", 17)]
    data = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    (folder / "fine.onnx").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"fine.onnx is not the file that was exported"):
        OnnxForecaster(folder)
    exchange(folder, "fine.onnx", data)
    with pytest.raises(CheckpointError, match=r"fine.onnx is a graph of another program: export the model again"):
        OnnxForecaster(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "is not the manifest of an ONNX export"),
        ({"format_version": 2}, "has the format version 2; this release reads version 1"),
        ({"context": 1}, "invalid context"),
        ({"weights": "int4"}, "invalid weights"),
        ({"colour": "red"}, "invalid colour"),
        ({"files": {}}, "does not list tokenizer-encode.onnx"),
        ({"card": "../README.md"}, "invalid card"),
    ],
)
def test_invalid_manifests_are_refused(folder, change, message):
    document = json.loads((folder / "kronos.json").read_text("utf-8")) | change
    (folder / "kronos.json").write_text(json.dumps(document), "utf-8")
    with pytest.raises(CheckpointError, match=message):
        Manifest.load(folder)


def test_folders_without_an_export_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"has no kronos.json: pass a folder that 'kronos models export' wrote"):
        Manifest.load(tmp_path)
    small_predictor().model.save_pretrained(tmp_path / "model", context=40)
    with pytest.raises(CheckpointError, match="is not the manifest of an ONNX export"):
        Manifest.load(tmp_path / "model")


def test_arguments_are_validated(folder):
    with pytest.raises(StorageError, match="it exists already; choose another folder"):
        export_onnx(small_predictor(), folder)
    with pytest.raises(ParameterError, match="Invalid weights 'int4': choose float32, float16"):
        export_onnx(small_predictor(), folder, weights="int4")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="A predictor has its tokenizer"):
        export_onnx(small_predictor(), folder, tokenizer="kronos-tokenizer-base")


def test_matrices_beyond_float16_stay_float32(tmp_path):
    predictor = small_predictor()
    with torch.no_grad():
        predictor.model.head.proj_s1.weight[0, 0] = 1e6
    export_onnx(predictor, tmp_path / "out", weights="float16")
    stored = onnx.load(tmp_path / "out" / "step.onnx").graph.initializer
    assert any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in stored)
    large = [onnx.numpy_helper.to_array(tensor) for tensor in stored if list(tensor.dims) == [32, 32]]
    assert any(array.max() == 1e6 for array in large)
