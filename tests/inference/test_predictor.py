"""Forecasts: independent of the batch, of the number of paths, and of everything after the origin; errors."""

import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos import Candles, Kronos, KronosPredictor, KronosTokenizer, SamplingParams, zoo
from kronos.errors import DataError, DeviceError, ParameterError
from kronos.forecasts import Forecast
from kronos.inference import batching
from kronos.inference.engine import ModelDecoder, Prompt, Rollout, Tokens
from networks import random_model, random_tokenizer
from random_walks import hourly_walk as candles

CONTEXT = 48


@pytest.fixture(scope="module")
def predictor() -> KronosPredictor:
    model = random_model(3, layers=2, heads=2, s2_attention="causal")
    return KronosPredictor(model, random_tokenizer(3), device="cpu", max_context=CONTEXT)


def assert_same_paths(got: Forecast, want: Forecast, samples: int | None = None) -> None:
    """Equal up to float32 rounding in matrices of other shapes; a different token would change much more."""
    scale = np.abs(want.paths).max(axis=(0, 1))  # [6]
    assert (np.abs(got.paths[:samples] - want.paths[:samples]) <= 1e-5 * scale).all()


def test_history_shorter_than_the_model_needs(tmp_path: Path) -> None:
    model, tokenizer = random_model(3, layers=2, heads=2, s2_attention="causal"), random_tokenizer(3)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    model.save_pretrained(tmp_path / "model", context=CONTEXT, tokenizer="../tokenizer")
    record = tmp_path / "model" / "kronos.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"least_history": 30}))
    loaded = KronosPredictor.from_pretrained(tmp_path, device="cpu")
    assert loaded.least_history == 30
    history = candles(0, 40)
    assert loaded.forecast(history.tail(30), 18, samples=2, seed=1).paths.shape == (2, 18, 6)
    with pytest.raises(DataError, match=r"has 29 candles: .* at least 30"):
        loaded.forecast(history.tail(29), 4, samples=2)
    with pytest.raises(ParameterError, match=r"horizon 19: .* at least 30 .* at most 18"):
        loaded.forecast(history, 19, samples=2)
    with pytest.raises(ParameterError, match="lookback 29: choose at least 30"):
        loaded.forecast(history, 4, samples=2, lookback=29)
    frame = history.frame
    with pytest.raises(DataError, match="needs at least 30"):
        loaded.predict(frame.tail(29), frame.index[-29:], pd.date_range("2024-03-01", periods=4, freq="h"), pred_len=4)
    with pytest.raises(ParameterError, match="at least 31"):
        KronosPredictor(loaded.model, loaded.tokenizer, device="cpu", max_context=30)
    loaded.model.save_pretrained(tmp_path / "again" / "model")
    assert json.loads((tmp_path / "again" / "model" / "kronos.json").read_text())["least_history"] == 30


def test_forecast_is_valid_and_has_metadata(predictor: KronosPredictor) -> None:
    history = candles(0, 100, "SIM")
    forecast = predictor.forecast(history, 12, samples=30, seed=7)
    assert forecast.paths.shape == (30, 12, 6)
    o, h, l, c, v, a = np.moveaxis(forecast.paths, -1, 0)  # noqa: E741
    assert (l <= np.minimum(o, c)).all()
    assert (h >= np.maximum(o, c)).all()
    assert (l > 0).all()
    assert (v >= 0).all()
    assert (a >= 0).all()
    assert list(forecast.timestamps) == list(pd.date_range(history.end, periods=13, freq="h")[1:])
    details = forecast.metadata.details
    assert details["seed"] == 7
    assert details["samples"] == 30
    assert details["lookback"] == CONTEXT - 12
    assert any("context" in note for note in forecast.notes)
    assert forecast.history is history


def test_level_error_is_the_tokenizers_error_at_the_last_close(predictor: KronosPredictor) -> None:
    """Compared with the tokenizer's own forward pass, in a batch with a series of another length."""
    horizon, series = 6, {"a": candles(1, 30), "b": candles(2, 100)}
    forecasts = predictor.forecast_many(series, horizon, samples=3, seed=1)
    for name, history in series.items():
        used = history.tail(CONTEXT - horizon).frame.to_numpy()
        mean, std = used.mean(axis=0), used.std(axis=0)
        x = np.clip((used - mean) / (std + 1e-5), -5, 5)
        with torch.inference_mode():
            (_, full), *_ = predictor.tokenizer(torch.from_numpy(x).float()[None])
        close = float(full[0, -1, 3]) * (std[3] + 1e-5) + mean[3]
        error = forecasts[name].metadata.details["level_error"]
        assert error == pytest.approx(np.log(close / used[-1, 3]), abs=1e-4)
        assert abs(error) > 0


def test_forecast_without_volume(predictor: KronosPredictor) -> None:
    frame = candles(0, 60).frame[["open", "high", "low", "close"]]
    forecast = predictor.forecast(frame, 5, samples=4, seed=1)
    assert (forecast.paths[..., 4:] == 0).all()


def test_random_seed_is_recorded(predictor: KronosPredictor) -> None:
    first = predictor.forecast(candles(1, 60), 5, samples=3)
    again = predictor.forecast(candles(1, 60), 5, samples=3, seed=first.metadata.details["seed"])
    np.testing.assert_array_equal(first.paths, again.paths)
    assert predictor.forecast(candles(1, 60), 5, samples=3).metadata.details["seed"] != first.metadata.details["seed"]


@pytest.mark.slow
@settings(max_examples=25)
@given(lengths=st.lists(st.integers(2, 60), min_size=1, max_size=6), samples=st.integers(1, 6), seed=st.integers(0, 99))
def test_other_series_change_nothing(predictor: KronosPredictor, lengths: list[int], samples: int, seed: int) -> None:
    """Each series of a ragged batch has the paths it has alone."""
    series = {f"S{i}": candles(seed + i, rows) for i, rows in enumerate(lengths)}
    together = predictor.forecast_many(series, 6, samples=samples, seed=seed)
    assert list(together) == list(series)
    for name, one in series.items():
        assert_same_paths(together[name], predictor.forecast_many({name: one}, 6, samples=samples, seed=seed)[name])


def test_batches_of_equal_shape_give_identical_paths(predictor: KronosPredictor) -> None:
    """Contents and order of the other series do not change a series' paths."""
    own, others = candles(1, 40), [candles(i, 40) for i in range(2, 6)]
    first = predictor.forecast_many({"own": own, "a": others[0], "b": others[1]}, 6, samples=4, seed=5)["own"]
    other = predictor.forecast_many({"c": others[2], "own": own, "d": others[3]}, 6, samples=4, seed=5)["own"]
    np.testing.assert_array_equal(first.paths, other.paths)


def test_thread_count_gives_identical_paths() -> None:
    """With matrices large enough to be divided among threads."""
    model = random_model(5, layers=2, heads=16, s2_attention="causal")
    predictor = KronosPredictor(model, random_tokenizer(5), device="cpu", max_context=CONTEXT)
    series = {f"S{i}": candles(i, 40) for i in range(3)}
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(predictor.forecast_many(series, 6, samples=64, seed=5))
    finally:
        torch.set_num_threads(threads)
    for name in series:
        np.testing.assert_array_equal(results[0][name].paths, results[1][name].paths)


@settings(max_examples=15)
@given(few=st.integers(1, 9), more=st.integers(10, 40), seed=st.integers(0, 99))
def test_more_paths_do_not_change_the_first_ones(predictor: KronosPredictor, few: int, more: int, seed: int) -> None:
    history = candles(seed, 40, "X")
    small = predictor.forecast(history, 6, samples=few, seed=seed)
    large = predictor.forecast(history, 6, samples=more, seed=seed)
    assert_same_paths(large, small, few)


def test_longer_horizon_does_not_change_the_first_steps(predictor: KronosPredictor) -> None:
    """With a fixed lookback: random numbers depend on the step, and no step depends on a later one."""
    history = candles(1, 40, "X")
    short = predictor.forecast(history, 5, samples=4, seed=1, lookback=30)
    long = predictor.forecast(history, 12, samples=4, seed=1, lookback=30)
    scale = np.abs(short.paths).max(axis=(0, 1))
    assert (np.abs(long.paths[:, :5] - short.paths) <= 1e-5 * scale).all()


def test_smaller_batches_give_the_same_paths(predictor: KronosPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    series = {f"S{i}": candles(i, 30 + i) for i in range(5)}
    whole = predictor.forecast_many(series, 4, samples=10, seed=2)
    monkeypatch.setattr(batching, "MAX_ROWS", 4)
    pieces = predictor.forecast_many(series, 4, samples=10, seed=2)
    for name in series:
        assert_same_paths(pieces[name], whole[name])


@given(lengths=st.lists(st.integers(2, 500), min_size=1, max_size=40), samples=st.integers(1, 1000),
       horizon=st.integers(1, 2000))  # fmt: skip
def test_plan_batches_has_every_path_once(lengths: list[int], samples: int, horizon: int) -> None:
    seen = np.zeros((len(lengths), samples), dtype=int)
    limits = batching.BatchLimits(batching.MAX_ROWS, batching.CACHE_BYTES, 4096, 4096)
    for batch in batching.plan_batches(lengths, samples, horizon, limits):
        assert batch.rows <= batching.MAX_ROWS
        rows = [len(batch.paths) * horizon + lengths[i] for i in batch.series]
        assert batch.rows == 1 or len(rows) * max(rows) * 4096 <= 2 * batching.CACHE_BYTES
        for i in batch.series:
            seen[i, batch.paths.start : batch.paths.stop] += 1
    assert (seen == 1).all()


def test_out_of_memory_halves_the_batch(predictor: KronosPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    series = {f"S{i}": candles(i, 40) for i in range(3)}
    whole = predictor.forecast_many(series, 4, samples=6, seed=2)
    decode, tried = batching._decode, []

    def decode_little(packed, members, samples, sampler, progress):  # type: ignore[no-untyped-def]
        tried.append(len(members) * samples)
        if tried[-1] > 3:
            torch.empty(2**58)  # more than any machine has, for torch's own error
        return decode(packed, members, samples, sampler, progress)

    monkeypatch.setattr(batching, "_decode", decode_little)
    pieces = predictor.forecast_many(series, 4, samples=6, seed=2)
    assert max(tried) == 18
    for name in series:
        assert_same_paths(pieces[name], whole[name])

    def decode_nothing(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(batching, "_decode", decode_nothing)
    with pytest.raises(DeviceError, match="Out of memory"):
        predictor.forecast_many(series, 4, samples=6, seed=2)


@pytest.mark.slow
@settings(max_examples=15)
@given(step=st.integers(0, 7), seed=st.integers(0, 99))
def test_later_timestamps_do_not_change_earlier_steps(predictor: KronosPredictor, step: int, seed: int) -> None:
    """A step depends neither on its own calendar features nor on later ones."""
    history = candles(seed, 40, "X")
    times = pd.date_range(history.end, periods=9, freq="h")[1:]
    later = times[:step].append(times[step:] + pd.Timedelta(days=40))
    first = predictor.forecast(history, 8, samples=3, seed=seed, timestamps=times)
    other = predictor.forecast(history, 8, samples=3, seed=seed, timestamps=later)
    np.testing.assert_array_equal(first.paths[:, : step + 1], other.paths[:, : step + 1])


@pytest.mark.slow
@settings(max_examples=15)
@given(cut=st.integers(10, 50), seed=st.integers(0, 99), training=st.booleans())
def test_future_candles_change_nothing(predictor: KronosPredictor, cut: int, seed: int, training: bool) -> None:
    """Changing every row after the origin leaves the forecast identical."""
    history = candles(seed, 60, "X")
    perturbed = history.frame.copy()
    perturbed.iloc[cut:] *= 3.0
    other = Candles.from_frame(perturbed, symbol="X")
    predictor.model.train(training)
    first, second = (
        predictor.forecast(c.until(history.index[cut - 1]), 6, samples=3, seed=seed) for c in (history, other)
    )
    predictor.model.eval()
    np.testing.assert_array_equal(first.paths, second.paths)
    assert list(first.timestamps) == list(second.timestamps)


def test_changed_weights_are_repacked() -> None:
    model = random_model(3)
    predictor = KronosPredictor(model, random_tokenizer(3), device="cpu", max_context=CONTEXT)
    before = predictor.forecast(candles(1, 40), 6, samples=4, seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    after = predictor.forecast(candles(1, 40), 6, samples=4, seed=1)
    assert not np.array_equal(before.paths, after.paths)


def test_bfloat16_stays_close() -> None:
    """The precision of "fast" has two to three digits, so that distributions hardly change."""
    model = random_model(3, layers=2, heads=4)
    random = torch.Generator().manual_seed(1)
    ids = [torch.randint(32, (1, 40), generator=random) for _ in range(2)]
    stamps = torch.ones(1, 40, 5, dtype=torch.long)
    prompt = Prompt(Tokens(*ids), torch.tensor([40]), stamps, stamps[:, :4])
    probabilities = []
    for dtype in (torch.float32, torch.bfloat16):
        seen: list[torch.Tensor] = []

        def sampler(step: int, head: int, logits: torch.Tensor, seen: list = seen) -> torch.Tensor:
            assert logits.dtype == torch.float32
            seen.append(logits.softmax(-1).expand(1, 2, -1))
            return torch.full((1, 2), step + head)

        with torch.inference_mode():
            Rollout(ModelDecoder(model, dtype), prompt, 2, 64).generate(sampler)
        probabilities.append(torch.cat(seen))
    exact, fast = probabilities
    assert not torch.equal(exact, fast)
    assert (exact * (exact / fast).log()).sum(-1).max() < 0.01  # nats


def test_fast_precision_forecasts() -> None:
    model, tokenizer = random_model(3, layers=2, heads=2), random_tokenizer(3)
    history = candles(1, 40)
    exact, fast = (
        KronosPredictor(model, tokenizer, device="cpu", max_context=CONTEXT, precision=precision).forecast(  # type: ignore[arg-type]
            history, 6, samples=400, seed=1
        )
        for precision in ("exact", "fast")
    )
    spread = exact.paths[..., 3].std()
    np.testing.assert_allclose(fast.paths[..., 3].mean(0), exact.paths[..., 3].mean(0), atol=0.3 * spread)
    np.testing.assert_allclose(fast.paths[..., 3].std(0), exact.paths[..., 3].std(0), rtol=0.3)


def test_progress_reaches_the_end(predictor: KronosPredictor) -> None:
    seen: list[tuple[int, int]] = []
    series = {f"S{i}": candles(i, 20 + 10 * i) for i in range(3)}
    predictor.forecast_many(series, 4, samples=5, seed=1, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (60, 60)


def test_long_frames_and_lists_are_series_too(predictor: KronosPredictor) -> None:
    a, b = candles(1, 40, "A"), candles(2, 30, "B")
    long = pd.concat(
        [one.frame.reset_index().rename(columns={"timestamps": "ds"}).assign(unique_id=one.symbol) for one in (a, b)]
    )
    by_frame = predictor.forecast_many(long, 4, samples=3, seed=1)
    by_list = predictor.forecast_many([a, b], 4, samples=3, seed=1)
    assert list(by_frame) == list(by_list) == ["A", "B"]
    for name in by_list:
        np.testing.assert_array_equal(by_frame[name].paths, by_list[name].paths)


def test_given_timestamps(predictor: KronosPredictor) -> None:
    times = pd.date_range("2025-01-01", periods=4, freq="D")
    forecast = predictor.forecast(candles(1, 40), 4, samples=2, seed=1, timestamps=times)
    assert list(forecast.timestamps) == list(times)
    assert forecast.metadata.calendar_basis == "given"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"horizon": 0}, "at least 1 candle"),
        ({"horizon": CONTEXT}, f"at most {CONTEXT - 1}"),
        ({"samples": 0}, "samples 0"),
        ({"sampling": "bold"}, "preset 'bold'"),
        ({"sampling": SamplingParams(), "lookback": 1}, "lookback 1"),
        ({"timestamps": pd.date_range("2025-01-01", periods=3)}, "3 timestamps for a horizon of 24"),
        ({"timestamps": pd.date_range("2020-01-01", periods=24)}, "must increase"),
    ],
)
def test_invalid_parameters(predictor: KronosPredictor, change: dict, words: str) -> None:
    arguments = {"horizon": 24, "samples": 2, "seed": 1} | change
    with pytest.raises(ParameterError, match=words) as caught:
        predictor.forecast(candles(1, 60), **arguments)
    assert str(caught.value).count(". ") == 0
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_invalid_temperatures(temperature: float) -> None:
    with pytest.raises(ParameterError, match="temperature"):
        SamplingParams(temperature=temperature)


def test_names_must_be_distinct(predictor: KronosPredictor) -> None:
    with pytest.raises(DataError, match="no series"):
        predictor.forecast_many({}, 4)
    with pytest.raises(DataError, match="named 'A'"):
        predictor.forecast_many([candles(1, 40, "A"), candles(2, 40, "A")], 4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.drop(columns="low"), "no column low"),
        (lambda f: f.assign(close=np.nan), "Column close, row 0: nan"),
        (lambda f: f.assign(high="much"), "not a number"),
        (lambda f: f.iloc[:1], "fewer than 2"),
    ],
)
def test_predict_rejects_unusable_frames(predictor: KronosPredictor, change, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match=words):
        predictor.predict(change(candles(1, 30).frame), pred_len=4, verbose=False)


def test_predict_validates_timestamps(predictor: KronosPredictor) -> None:
    frame = candles(1, 30).frame
    future = pd.date_range("2025-01-01", periods=5, freq="h")
    with pytest.raises(ParameterError, match="5 rows for pred_len 4"):
        predictor.predict(frame, frame.index, future, 4, verbose=False)
    with pytest.raises(ParameterError, match="29 timestamps for 30 rows"):
        predictor.predict(frame, frame.index[1:], future, 5, verbose=False)
    with pytest.raises(ParameterError, match=f"horizon {CONTEXT}"):
        predictor.predict(frame, frame.index, None, CONTEXT, verbose=False)


def test_predict_derives_future_timestamps(predictor: KronosPredictor) -> None:
    frame = candles(1, 30).frame
    torch.manual_seed(1)
    got = predictor.predict(frame, pred_len=4, verbose=False)
    torch.manual_seed(1)
    times = pd.Series(pd.date_range(frame.index[-1], periods=5, freq="h")[1:])
    want = predictor.predict(frame, pd.Series(frame.index), times, 4, verbose=False)
    pd.testing.assert_frame_equal(got, want, check_names=False, check_freq=False)


def test_strategies_set_the_sampling(predictor: KronosPredictor) -> None:
    frame = candles(1, 30).frame
    torch.manual_seed(1)
    named = predictor.predict(frame, pred_len=4, strategy="conservative", verbose=False)
    torch.manual_seed(1)
    given_ = predictor.predict(frame, pred_len=4, T=0.6, top_p=0.9, verbose=False)
    pd.testing.assert_frame_equal(named, given_)
    with pytest.raises(ParameterError, match="strategy 'bold'"):
        predictor.predict(frame, pred_len=4, strategy="bold", verbose=False)


def test_tokenizer_of_other_bits_is_rejected() -> None:
    with pytest.raises(ParameterError, match=r"4 \+ 4 bits, the model reads 5 \+ 5"):
        KronosPredictor(random_model(0), random_tokenizer(0, bits=4), device="cpu")


def test_missing_devices() -> None:
    with pytest.raises(DeviceError, match="device 'abacus'"):
        KronosPredictor(random_model(0), random_tokenizer(0), device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="no device 'cuda'"):
            KronosPredictor(random_model(0), random_tokenizer(0), device="cuda")


@pytest.mark.parametrize("scale", [1e-8, 1e-4, 1e5])
def test_unit_of_price_does_not_matter(predictor: KronosPredictor, scale: float) -> None:
    """A coin worth 1e-6 is forecast like one worth 100."""
    frame = candles(1, 40).frame
    tiny = frame.copy()
    tiny[["open", "high", "low", "close"]] *= scale
    want = predictor.forecast(frame, 6, samples=20, seed=1).paths[..., :4]
    got = predictor.forecast(tiny, 6, samples=20, seed=1).paths[..., :4] / scale
    np.testing.assert_allclose(got.std(), want.std(), rtol=0.05)
    np.testing.assert_allclose(got.mean(), want.mean(), rtol=0.01)


def test_constant_prices_stay_constant(predictor: KronosPredictor) -> None:
    frame = candles(1, 40).frame
    frame[["open", "high", "low", "close"]] = 3e-7
    forecast = predictor.forecast(frame, 6, samples=5, seed=1)
    np.testing.assert_allclose(forecast.paths[..., :4], 3e-7, rtol=1e-3)
    assert any("never changes" in note for note in forecast.notes)


def test_given_timestamps_are_converted_to_the_historys_timezone(predictor: KronosPredictor) -> None:
    history = Candles.from_frame(candles(1, 40).frame, timezone="America/New_York", symbol="X")
    local = pd.date_range(history.end, periods=7, freq="h")[1:]
    first = predictor.forecast(history, 6, samples=2, seed=1, timestamps=local)
    other = predictor.forecast(history, 6, samples=2, seed=1, timestamps=local.tz_convert("UTC"))
    np.testing.assert_array_equal(first.paths, other.paths)
    assert other.timestamps.tz == history.index.tz


def test_changed_weights_have_no_hash(tmp_path: Path) -> None:
    random_model(3).save_pretrained(tmp_path / "model", context=48, tokenizer="../tokenizer")
    random_tokenizer(3).save_pretrained(tmp_path / "tokenizer")
    predictor = KronosPredictor.from_pretrained(tmp_path, device="cpu")
    before = predictor.forecast(candles(1, 40), 4, samples=2, seed=1).metadata
    with torch.no_grad():
        predictor.model.norm.weight.add_(0.1)
    after = predictor.forecast(candles(1, 40), 4, samples=2, seed=1).metadata
    assert len(before.details["model"]["sha256"]) == 64
    assert after.details["model"]["sha256"] is None
    assert after.model.endswith("(changed)")
    assert after.details["tokenizer"] == before.details["tokenizer"]


def test_writes_through_data_need_repacking() -> None:
    model = random_model(3)
    predictor = KronosPredictor(model, random_tokenizer(3), device="cpu", max_context=CONTEXT)
    before = predictor.forecast(candles(1, 40), 6, samples=4, seed=1)
    for parameter in model.parameters():
        parameter.data.mul_(1.5)
    np.testing.assert_array_equal(predictor.forecast(candles(1, 40), 6, samples=4, seed=1).paths, before.paths)
    predictor.repack()
    assert not np.array_equal(predictor.forecast(candles(1, 40), 6, samples=4, seed=1).paths, before.paths)


def test_changed_s2_attention_is_repacked() -> None:
    model = random_model(3, heads=4)
    predictor = KronosPredictor(model, random_tokenizer(3), device="cpu", max_context=CONTEXT)
    before = predictor.forecast(candles(1, 40), 6, samples=50, seed=1)
    model.s2_attention = "causal"
    assert not np.array_equal(predictor.forecast(candles(1, 40), 6, samples=50, seed=1).paths, before.paths)


def test_tokenizer_of_another_model_is_rejected(tmp_path: Path) -> None:
    """Published tokenizers have the same bits, so they can only be distinguished by name."""
    random_model(3).save_pretrained(tmp_path / "model", context=48, tokenizer="kronos-tokenizer-base")
    random_tokenizer(3).save_pretrained(tmp_path / "tokenizer")
    model = Kronos.from_pretrained(tmp_path / "model")
    tokenizer = KronosTokenizer.from_pretrained(tmp_path / "tokenizer")
    KronosPredictor(model, tokenizer, device="cpu")  # a tokenizer without a name is accepted
    assert tokenizer.located is not None
    tokenizer.located = replace(tokenizer.located, entry=zoo.find_entry("kronos-tokenizer-2k"))
    with pytest.raises(ParameterError, match="trained with Kronos-Tokenizer-base, not with Kronos-Tokenizer-2k"):
        KronosPredictor(model, tokenizer, device="cpu")


def test_errors_name_the_series(predictor: KronosPredictor) -> None:
    bad = candles(1, 40).frame.drop(columns="low")
    with pytest.raises(DataError, match=r"^ETH: "):
        predictor.forecast_many({"BTC": candles(1, 40), "ETH": bad}, 4)
    with pytest.raises(DataError, match="ETH has 1 candles"):
        predictor.forecast_many({"BTC": candles(1, 40), "ETH": candles(1, 40).tail(1)}, 4)
    with pytest.raises(DataError, match="Frames in a list have no names"):
        predictor.forecast_many([bad, bad], 4)  # type: ignore[list-item]


def test_generate_validates_its_arrays(predictor: KronosPredictor) -> None:
    prepared = predictor.preprocess(candles(1, 30).frame, pred_len=5)
    x, past, future = prepared.x[None], prepared.x_stamp[None], prepared.y_stamp[None]
    with pytest.raises(ParameterError, match="5 rows for pred_len 9"):
        predictor.generate(x, past, future, 9, 1.0, 0, 0.9, 1, verbose=False)
    with pytest.raises(ParameterError, match="of x_stamp"):
        predictor.generate(x, past[:, 1:], future, 5, 1.0, 0, 0.9, 1, verbose=False)
    with pytest.raises(DataError, match="NaN or infinite"):
        predictor.generate(x * np.nan, past, future, 5, 1.0, 0, 0.9, 1, verbose=False)


@pytest.mark.parametrize("column", ["open", "volume"])
def test_text_among_numbers_is_rejected(predictor: KronosPredictor, column: str) -> None:
    frame = candles(1, 30).frame.drop(columns="amount").astype({column: object})
    frame.loc[frame.index[3], column] = "n/a"
    with pytest.raises(DataError, match="not a number"):
        predictor.predict(frame, pred_len=4, verbose=False)


def test_numbers_are_not_timestamps(predictor: KronosPredictor) -> None:
    frame = candles(1, 30).frame
    with pytest.raises(DataError, match="x_timestamp holds numbers"):
        predictor.predict(frame, np.arange(30) * 3_600_000, pred_len=4, verbose=False)


def test_half_precision_networks_forecast() -> None:
    model, tokenizer = random_model(3).bfloat16(), random_tokenizer(3).bfloat16()
    forecast = KronosPredictor(model, tokenizer, device="cpu", max_context=CONTEXT).forecast(
        candles(1, 40), 4, samples=2
    )
    assert np.isfinite(forecast.paths).all()


def test_networks_created_in_inference_mode_forecast() -> None:
    with torch.inference_mode():
        predictor = KronosPredictor(random_model(3), random_tokenizer(3), device="cpu", max_context=CONTEXT)
        forecast = predictor.forecast(candles(1, 40), 4, samples=2)
    assert np.isfinite(forecast.paths).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_forecasts_after_its_parent_has() -> None:
    """OpenMP's threads are missing in the child; with one thread it needs none, and the paths are the same."""
    model = random_model(5, layers=2, heads=16, s2_attention="causal")
    predictor = KronosPredictor(model, random_tokenizer(5), device="cpu", max_context=CONTEXT)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def forecast() -> np.ndarray:
        return predictor.forecast(candles(1, 40, "X"), 6, samples=64, seed=5).paths

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        expected = forecast()
        child = context.Process(target=lambda: sender.send((torch.get_num_threads(), forecast())))
        child.start()
        try:
            assert receiver.poll(60), "the child hangs"
            count, paths = receiver.recv()
        finally:
            child.kill()
            child.join()
    finally:
        torch.set_num_threads(threads)
    assert count == 1
    np.testing.assert_array_equal(paths, expected)


@pytest.mark.parametrize(
    "arguments",
    [
        {"samples": 1.5}, {"samples": True}, {"samples": "10"}, {"samples": 0},
        {"seed": True}, {"seed": 1.5}, {"seed": "7"},
        {"horizon": 2.0}, {"horizon": True}, {"horizon": "2"},
        {"lookback": 20.5}, {"lookback": True}, {"lookback": "20"},
    ],
)  # fmt: skip
def test_arguments_of_another_kind_are_one_sentence(predictor: KronosPredictor, arguments: dict) -> None:
    [(name, value)] = arguments.items()
    with pytest.raises(ParameterError, match=f"Invalid {name} {value!r}"):
        predictor.forecast(candles(1, 40), **({"horizon": 2, "samples": 2} | arguments))


def test_numbers_of_numpy_are_numbers(predictor: KronosPredictor) -> None:
    plain = predictor.forecast(candles(1, 40), 2, samples=3, seed=1, lookback=20)
    arrays = predictor.forecast(
        candles(1, 40), np.int64(2), samples=np.int32(3), seed=np.int64(1), lookback=np.int8(20)
    )
    np.testing.assert_array_equal(arrays.paths, plain.paths)
    json.dumps(arrays.to_dict())


@pytest.mark.parametrize("values", [{"temperature": 1e-38}, {"temperature": True}, {"top_p": "1"}, {"top_k": 2.5}])
def test_sampling_parameters_of_another_kind_are_one_sentence(values: dict) -> None:
    [(name, value)] = values.items()
    with pytest.raises(ParameterError, match=f"Invalid {name} {value!r}"):
        SamplingParams(**values)


def test_a_temperature_close_to_zero_gives_the_most_probable_tokens(predictor: KronosPredictor) -> None:
    cold = predictor.forecast(candles(1, 40), 3, sampling=SamplingParams(temperature=1e-30, samples=2, seed=1))
    greedy = predictor.forecast(candles(1, 40), 3, sampling=SamplingParams(top_k=1, samples=2, seed=1))
    np.testing.assert_array_equal(cold.paths, greedy.paths)


@pytest.mark.parametrize("factor", [1e-40, 1e-33, 1e35, 1e200])
def test_prices_beyond_the_precision_are_refused(predictor: KronosPredictor, factor: float) -> None:
    history = candles(1, 40)
    scaled = Candles.from_frame(
        history.frame.assign(**{c: history.frame[c] * factor for c in ("open", "high", "low", "close")})
    )
    with pytest.raises(DataError, match="power of ten"):
        predictor.forecast(scaled, 2, samples=2)


@pytest.mark.parametrize("factor", [1e-20, 1e-8, 1e8, 1e20])
def test_paths_are_in_the_unit_of_the_prices(predictor: KronosPredictor, factor: float) -> None:
    history = candles(1, 40).frame.assign(volume=0.0, amount=0.0)
    scaled = history.assign(**{c: history[c] * factor for c in ("open", "high", "low", "close")})
    plain, other = (predictor.forecast(frame, 3, samples=3, seed=1).paths for frame in (history, scaled))
    np.testing.assert_allclose(other / factor, plain, rtol=1e-2)


@pytest.mark.parametrize("value", ["btc.csv", Path("btc.csv"), [1.0, 2.0], None])
def test_what_is_no_candles_is_one_sentence(predictor: KronosPredictor, value: object) -> None:
    hint = "read_candles" if isinstance(value, str | Path) else "DataFrame"
    with pytest.raises(DataError, match=hint):
        predictor.forecast(value, 2)
    with pytest.raises(DataError, match=hint):
        predictor.forecast_many({"btc": value}, 2)
    if isinstance(value, str | Path):
        with pytest.raises(DataError, match=hint):
            predictor.forecast_many(value, 2)
