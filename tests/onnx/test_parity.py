"""Exported graphs compared with the decoding engine: the same logits, tokens and paths."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from kronos import KronosPredictor, SamplingParams, zoo
from kronos.calibration import Calibration, calibrate_forecast
from kronos.errors import DataError, ParameterError
from kronos.inference.sampling import CounterBasedSampler
from kronos.nn import Kronos, KronosTokenizer
from kronos.onnx import OnnxForecaster, export_onnx
from kronos.onnx.manifest import GRAPHS
from kronos.rng import keyed_uniforms
from kronos.training.lora import LoRA, add_lora, load_adapter, save_adapter
from networks import random_model, random_tokenizer
from onnx_exports import engine_ids, logits_of, prepared
from random_walks import hourly_walk

CONTEXT = 48


@pytest.fixture(scope="module")
def predictor() -> KronosPredictor:
    return KronosPredictor.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def nano(predictor: KronosPredictor, tmp_path_factory: pytest.TempPathFactory) -> OnnxForecaster:
    folder = tmp_path_factory.mktemp("onnx") / "nano"
    export_onnx(predictor, folder)
    return OnnxForecaster(folder, threads=1)


def assert_same_logits(
    predictor: KronosPredictor, exported: OnnxForecaster, rows: int, horizon: int, samples: int
) -> None:
    """Equal within 1e-4 of their scale, for forced tokens."""
    series = prepared(exported, rows, horizon)
    shape = (samples, horizon, 1)
    rng, sizes = np.random.default_rng(5), (2**predictor.model.s1_bits, 2**predictor.model.s2_bits)
    ids = np.concatenate([rng.integers(0, size, shape) for size in sizes], axis=-1)
    history, _ = exported.sample_tokens(series, "X", SamplingParams(samples=1, seed=1))
    expected = logits_of(lambda sampler: engine_ids(predictor, series, sampler, samples), ids)
    actual = logits_of(lambda sampler: exported.generate(history, series, sampler, samples), ids)
    assert len(actual) == len(expected) == 2 * horizon
    for got, want in zip(actual, expected, strict=True):
        assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()


def size_of(exported: OnnxForecaster) -> int:
    """Bytes of all graphs."""
    return sum(exported.manifest.files[name].bytes for name in GRAPHS)


def share_of_equal_tokens(
    predictor: KronosPredictor, exported: OnnxForecaster, params: SamplingParams, rows: int, horizon: int
) -> float:
    """Over all paths, steps and both tokens, with keyed random numbers."""
    series = prepared(exported, rows, horizon)
    uniforms = keyed_uniforms(params.seed or 0, "X", range(params.samples), horizon)
    sampler = CounterBasedSampler(params, torch.from_numpy(uniforms)[None].float())
    _, ids = exported.sample_tokens(series, "X", params)
    return float((ids == engine_ids(predictor, series, sampler, params.samples)).mean())


def share_of_equal_paths(
    predictor: KronosPredictor, exported: OnnxForecaster, rows: int, horizon: int, samples: int
) -> float:
    """Probability that a whole path is equal, from 2000 uniform numbers for each of its draws: few paths differ."""
    series, params = prepared(exported, rows, horizon), SamplingParams(samples=samples, seed=3)
    history, ids = exported.sample_tokens(series, "X", params)
    expected = logits_of(lambda sampler: engine_ids(predictor, series, sampler, samples), ids)
    actual = logits_of(lambda sampler: exported.generate(history, series, sampler, samples), ids)
    uniforms = torch.rand((samples, 2000, 1, 1), generator=torch.Generator().manual_seed(4))
    draw = partial(CounterBasedSampler(params, uniforms), 0, 0)
    equal = [
        (draw(torch.from_numpy(got[0, :, None])) == draw(torch.from_numpy(want[0, :, None]))).double().mean(1)
        for got, want in zip(actual, expected, strict=True)
    ]
    return float(torch.stack(equal).prod(0).mean())


@pytest.mark.parametrize("s2_attention", ["published", "causal"])
@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (3, 2), (2, 4)])
def test_random_networks(tmp_path: Path, s2_attention: str, layers: int, heads: int) -> None:
    model = random_model(7, layers=layers, heads=heads, s2_attention=s2_attention)
    predictor = KronosPredictor(model, random_tokenizer(7), device="cpu", max_context=CONTEXT)
    export_onnx(predictor, tmp_path / "out")
    exported = OnnxForecaster(tmp_path / "out", threads=1)
    assert_same_logits(predictor, exported, rows=CONTEXT - 5, horizon=5, samples=3)
    assert share_of_equal_tokens(predictor, exported, SamplingParams(samples=30, seed=1), 20, 6) >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kronos-mini", "kronos-small"])
@pytest.mark.parametrize("s2_attention", ["published", "causal"])
def test_published_shapes(tmp_path: Path, name: str, s2_attention: str) -> None:
    entry = zoo.find_entry(name)
    assert entry is not None
    paired = zoo.find_entry(entry.tokenizer or "")
    assert paired is not None
    torch.manual_seed(3)
    model = Kronos(**entry.config, s2_attention=s2_attention)  # type: ignore[arg-type]
    predictor = KronosPredictor(model, KronosTokenizer(**paired.config), device="cpu", max_context=entry.context or 512)  # type: ignore[arg-type]
    export_onnx(predictor, tmp_path / "out")
    exported = OnnxForecaster(tmp_path / "out", threads=1)
    assert_same_logits(predictor, exported, rows=40, horizon=4, samples=4)
    assert share_of_equal_tokens(predictor, exported, SamplingParams(samples=8, seed=1), 40, 4) >= 0.999


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(samples=20, seed=4),
        SamplingParams(samples=10, seed=4, temperature=0.6, top_p=0.9),
        SamplingParams(samples=10, seed=4, top_k=5),
        SamplingParams(samples=1, seed=4, top_k=1),
    ],
)
def test_forecasts_are_those_of_the_predictor(
    predictor: KronosPredictor, nano: OnnxForecaster, params: SamplingParams
) -> None:
    history = hourly_walk(2, 120, "X")
    expected = predictor.forecast(history, 8, sampling=params, calibration=False)
    actual = nano.forecast(history, 8, sampling=params)
    scale = np.abs(expected.paths).max(axis=(0, 1))
    assert (np.abs(actual.paths - expected.paths) <= 1e-5 * scale).all(axis=(1, 2)).mean() >= 0.99
    assert (actual.timestamps == expected.timestamps).all()
    assert actual.metadata.details["seed"] == 4
    assert actual.metadata.details["level_error"] == pytest.approx(expected.metadata.details["level_error"], abs=1e-6)


def test_the_bundled_models_logits_and_tokens(predictor: KronosPredictor, nano: OnnxForecaster) -> None:
    assert_same_logits(predictor, nano, rows=250, horizon=6, samples=4)
    assert share_of_equal_tokens(predictor, nano, SamplingParams(samples=64, seed=9), 200, 24) >= 0.999


def test_the_bundled_models_paths(predictor: KronosPredictor, nano: OnnxForecaster) -> None:
    assert share_of_equal_paths(predictor, nano, rows=200, horizon=12, samples=32) >= 0.999


def test_the_whole_context_is_used_and_the_window_does_not_slide(nano: OnnxForecaster) -> None:
    params = SamplingParams(samples=1, seed=1)
    assert nano.sample_tokens(prepared(nano, 252, 4), "X", params)[1].shape == (1, 4, 2)
    with pytest.raises(ParameterError, match="history of 253 candles and a horizon of 4 exceed the context of 256"):
        nano.sample_tokens(prepared(nano, 253, 4), "X", params)
    assert nano.forecast(hourly_walk(1, 300, "X"), 4, samples=2, seed=1).metadata.details["lookback"] == 252


def test_the_shipped_calibration_fits(predictor: KronosPredictor, nano: OnnxForecaster) -> None:
    history = hourly_walk(3, 100, "X")
    raw = nano.forecast(history, 5, samples=50, seed=2)
    corrected = calibrate_forecast(raw, Calibration.load(nano.folder / "calibration.json"))
    expected = predictor.forecast(history, 5, samples=50, seed=2)
    assert corrected.metadata.calibrated
    assert expected.metadata.calibrated
    np.testing.assert_allclose(corrected.paths, expected.paths, rtol=1e-4)


def test_adapters_are_merged(tmp_path: Path) -> None:
    model = add_lora(random_model(1), LoRA(rank=2, targets=("q_proj", "w1", "proj_s2")))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(2))
    predictor = KronosPredictor(model, random_tokenizer(1), device="cpu", max_context=CONTEXT)
    export_onnx(predictor, tmp_path / "out")
    assert_same_logits(predictor, OnnxForecaster(tmp_path / "out", threads=1), rows=20, horizon=3, samples=2)


@pytest.mark.slow
def test_a_fine_tuned_model(predictor: KronosPredictor, tmp_path: Path) -> None:
    """A LoRA of the bundled model, saved, merged into its base and exported by its folder."""
    adapted = add_lora(predictor.model, LoRA(rank=4, targets=(*LoRA().targets, "w2", "proj_s1")))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02, generator=generator)
    merged = load_adapter(predictor.model, save_adapter(adapted, tmp_path / "adapter"))
    predictor.tokenizer.save_pretrained(tmp_path / "mine" / "tokenizer")
    merged.save_pretrained(tmp_path / "mine" / "model", context=256, tokenizer="../tokenizer")
    tuned = KronosPredictor.from_pretrained(tmp_path / "mine", device="cpu")
    manifest = export_onnx(tmp_path / "mine", tmp_path / "out")
    assert (manifest.name, manifest.calibration) == ("mine", None)
    exported = OnnxForecaster(tmp_path / "out", threads=1)
    assert_same_logits(tuned, exported, rows=100, horizon=4, samples=4)
    params = SamplingParams(samples=64, seed=9)
    assert share_of_equal_tokens(tuned, exported, params, 100, 6) >= 0.999
    assert share_of_equal_tokens(predictor, exported, params, 100, 6) < 0.9


@pytest.mark.parametrize("s2_attention", ["published", "causal"])
def test_float16_is_exact_for_float16_weights(tmp_path: Path, s2_attention: str) -> None:
    model = random_model(7, s2_attention=s2_attention).half().float()
    predictor = KronosPredictor(model, random_tokenizer(7), device="cpu", max_context=CONTEXT)
    ids = np.random.default_rng(5).integers(0, 32, (3, 5, 2))
    seen = []
    for weights in ("float32", "float16"):
        export_onnx(predictor, tmp_path / weights, weights=weights)
        exported = OnnxForecaster(tmp_path / weights, threads=1)
        series = prepared(exported, 20, 5)
        history, _ = exported.sample_tokens(series, "X", SamplingParams(samples=1, seed=1))
        seen.append(logits_of(partial(exported.generate, history, series, samples=3), ids))
    for full, half in zip(*seen, strict=True):
        np.testing.assert_array_equal(half, full)


def test_float16_is_exact_for_the_bundled_model(
    predictor: KronosPredictor, nano: OnnxForecaster, tmp_path: Path
) -> None:
    export_onnx(predictor, tmp_path / "out", weights="float16")
    half = OnnxForecaster(tmp_path / "out", threads=1)
    assert size_of(half) < 0.55 * size_of(nano)
    run = {"horizon": 8, "samples": 20, "seed": 4}
    history = hourly_walk(2, 120, "X")
    np.testing.assert_array_equal(half.forecast(history, **run).paths, nano.forecast(history, **run).paths)


def test_int8_weights(predictor: KronosPredictor, nano: OnnxForecaster, tmp_path: Path) -> None:
    export_onnx(predictor, tmp_path / "out", weights="int8")
    small = OnnxForecaster(tmp_path / "out", threads=1)
    assert size_of(small) < 0.35 * size_of(nano)
    assert share_of_equal_tokens(predictor, small, SamplingParams(samples=32, seed=9), 100, 8) >= 0.3


def test_histories_and_horizons_out_of_range(nano: OnnxForecaster) -> None:
    with pytest.raises(DataError, match="kronos-nano needs at least 8 candles of history; got 5"):
        nano.forecast(hourly_walk(1, 5, "X"), 4)
    with pytest.raises(ParameterError, match="Invalid horizon 256"):
        nano.forecast(hourly_walk(1, 50, "X"), 256)
