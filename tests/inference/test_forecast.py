"""Seeded forecasts: independent of company, of how many paths are asked for, and of everything after the origin."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos import Candles, KronosPredictor, SamplingParams
from kronos.errors import DataError, DeviceError, ParameterError
from kronos.forecasts import Forecast
from kronos.inference import blocks
from networks import random_model, random_tokenizer

CONTEXT = 48


def candles(seed: int, rows: int, symbol: str | None = None) -> Candles:
    """A random walk of valid hourly candles."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    opened = np.concatenate(([100.0], close[:-1]))
    spread = 1 + rng.uniform(0, 0.01, (2, rows))
    frame = pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) * spread[0],
            "low": np.minimum(opened, close) / spread[1],
            "close": close,
            "volume": rng.uniform(1, 10, rows),
        },
        index=pd.date_range("2024-01-01", periods=rows, freq="h"),
    )
    return Candles.from_frame(frame, symbol=symbol)


@pytest.fixture(scope="module")
def predictor() -> KronosPredictor:
    model = random_model(3, layers=2, heads=2, s2_attention="causal")
    return KronosPredictor(model, random_tokenizer(3), device="cpu", max_context=CONTEXT)


def assert_same_paths(got: Forecast, want: Forecast, samples: int | None = None) -> None:
    """Equal up to float32 rounding in matrices of other shapes; a different token would differ far more."""
    np.testing.assert_allclose(got.paths[:samples], want.paths[:samples], rtol=1e-4)


def test_forecast_is_valid_and_says_how_it_was_made(predictor: KronosPredictor) -> None:
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
    details = forecast.made.details
    assert details["seed"] == 7
    assert details["samples"] == 30
    assert details["lookback"] == CONTEXT - 12
    assert any("context" in note for note in forecast.notes)
    assert forecast.history is history


def test_no_volume_stays_none(predictor: KronosPredictor) -> None:
    frame = candles(0, 60).frame[["open", "high", "low", "close"]]
    forecast = predictor.forecast(frame, 5, samples=4, seed=1)
    assert (forecast.paths[..., 4:] == 0).all()


def test_a_seed_is_drawn_and_said(predictor: KronosPredictor) -> None:
    first = predictor.forecast(candles(1, 60), 5, samples=3)
    again = predictor.forecast(candles(1, 60), 5, samples=3, seed=first.made.details["seed"])
    np.testing.assert_array_equal(first.paths, again.paths)
    assert predictor.forecast(candles(1, 60), 5, samples=3).made.details["seed"] != first.made.details["seed"]


@settings(max_examples=25)
@given(lengths=st.lists(st.integers(2, 60), min_size=1, max_size=6), samples=st.integers(1, 6), seed=st.integers(0, 99))
def test_company_changes_nothing(predictor: KronosPredictor, lengths: list[int], samples: int, seed: int) -> None:
    """Each series of a ragged batch has the paths it has alone."""
    series = {f"S{i}": candles(seed + i, rows) for i, rows in enumerate(lengths)}
    together = predictor.forecast_many(series, 6, samples=samples, seed=seed)
    assert list(together) == list(series)
    for name, one in series.items():
        assert_same_paths(together[name], predictor.forecast_many({name: one}, 6, samples=samples, seed=seed)[name])


def test_order_and_neighbours_change_no_bit_at_equal_shapes(predictor: KronosPredictor) -> None:
    """Blocks of equal shape: the neighbours' contents and their order don't touch a series' paths."""
    mine, others = candles(1, 40), [candles(i, 40) for i in range(2, 6)]
    first = predictor.forecast_many({"mine": mine, "a": others[0], "b": others[1]}, 6, samples=4, seed=5)["mine"]
    other = predictor.forecast_many({"c": others[2], "mine": mine, "d": others[3]}, 6, samples=4, seed=5)["mine"]
    np.testing.assert_array_equal(first.paths, other.paths)


def test_thread_count_changes_no_bit(predictor: KronosPredictor) -> None:
    series = {f"S{i}": candles(i, 40) for i in range(3)}
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(predictor.forecast_many(series, 6, samples=8, seed=5))
    finally:
        torch.set_num_threads(threads)
    for name in series:
        np.testing.assert_array_equal(results[0][name].paths, results[1][name].paths)


@settings(max_examples=15)
@given(few=st.integers(1, 9), more=st.integers(10, 40), seed=st.integers(0, 99))
def test_first_paths_stay_when_more_are_asked_for(predictor: KronosPredictor, few: int, more: int, seed: int) -> None:
    history = candles(seed, 40, "X")
    small = predictor.forecast(history, 6, samples=few, seed=seed)
    large = predictor.forecast(history, 6, samples=more, seed=seed)
    assert_same_paths(large, small, few)


def test_a_longer_horizon_keeps_the_first_steps(predictor: KronosPredictor) -> None:
    """With the lookback fixed: draws are keyed by step, and no step sees a later one."""
    history = candles(1, 40, "X")
    short = predictor.forecast(history, 5, samples=4, seed=1, lookback=30)
    long = predictor.forecast(history, 12, samples=4, seed=1, lookback=30)
    np.testing.assert_allclose(long.paths[:, :5], short.paths, rtol=1e-4)


def test_many_paths_are_decoded_in_blocks(predictor: KronosPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    series = {f"S{i}": candles(i, 30 + i) for i in range(5)}
    whole = predictor.forecast_many(series, 4, samples=10, seed=2)
    monkeypatch.setattr(blocks, "ROWS", 4)
    pieces = predictor.forecast_many(series, 4, samples=10, seed=2)
    for name in series:
        assert_same_paths(pieces[name], whole[name])


@given(lengths=st.lists(st.integers(2, 500), min_size=1, max_size=40), samples=st.integers(1, 1000))
def test_a_plan_decodes_every_path_once(lengths: list[int], samples: int) -> None:
    seen = np.zeros((len(lengths), samples), dtype=int)
    for block in blocks.plan(lengths, samples):
        assert block.rows <= blocks.ROWS
        for job in block.jobs:
            seen[job, block.paths.start : block.paths.stop] += 1
    assert (seen == 1).all()


def test_out_of_memory_halves_the_batch(predictor: KronosPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    series = {f"S{i}": candles(i, 40) for i in range(3)}
    whole = predictor.forecast_many(series, 4, samples=6, seed=2)
    real, tried = blocks._decode, []

    def scarce(decoders, jobs, samples, choose):  # type: ignore[no-untyped-def]
        tried.append(len(jobs) * samples)
        if tried[-1] > 3:
            raise torch.OutOfMemoryError("no room")
        return real(decoders, jobs, samples, choose)

    monkeypatch.setattr(blocks, "_decode", scarce)
    pieces = predictor.forecast_many(series, 4, samples=6, seed=2)
    assert max(tried) == 18
    for name in series:
        assert_same_paths(pieces[name], whole[name])

    def hopeless(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(blocks, "_decode", hopeless)
    with pytest.raises(DeviceError, match="Memory ran out"):
        predictor.forecast_many(series, 4, samples=6, seed=2)


@settings(max_examples=15)
@given(cut=st.integers(10, 50), seed=st.integers(0, 99), training=st.booleans())
def test_the_future_changes_nothing(predictor: KronosPredictor, cut: int, seed: int, training: bool) -> None:
    """Perturb every row after the origin: the forecast made at the origin is the same, bit for bit."""
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


def test_new_weights_are_noticed() -> None:
    model = random_model(3)
    predictor = KronosPredictor(model, random_tokenizer(3), device="cpu", max_context=CONTEXT)
    before = predictor.forecast(candles(1, 40), 6, samples=4, seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    after = predictor.forecast(candles(1, 40), 6, samples=4, seed=1)
    assert not np.array_equal(before.paths, after.paths)


def test_fast_precision_stays_close() -> None:
    """bfloat16 keeps two to three digits: paths may differ, their distribution may not."""
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


def test_timestamps_may_be_given(predictor: KronosPredictor) -> None:
    times = pd.date_range("2025-01-01", periods=4, freq="D")
    forecast = predictor.forecast(candles(1, 40), 4, samples=2, seed=1, timestamps=times)
    assert list(forecast.timestamps) == list(times)
    assert forecast.made.calendar_basis == "given"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"horizon": 0}, "at least 1 candle"),
        ({"horizon": CONTEXT}, f"forecast at most {CONTEXT - 1}"),
        ({"samples": 0}, "samples is 0"),
        ({"sampling": "bold"}, "no preset 'bold'"),
        ({"sampling": SamplingParams(), "lookback": 1}, "lookback is 1"),
        ({"timestamps": pd.date_range("2025-01-01", periods=3)}, "3 timestamps for a horizon of 24"),
        ({"timestamps": pd.date_range("2020-01-01", periods=24)}, "must increase, from after"),
    ],
)
def test_wrong_parameters_get_one_sentence(predictor: KronosPredictor, change: dict, sentence: str) -> None:
    arguments = {"horizon": 24, "samples": 2, "seed": 1} | change
    with pytest.raises(ParameterError, match=sentence) as caught:
        predictor.forecast(candles(1, 60), **arguments)
    assert str(caught.value).count(". ") == 0
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_temperatures_are_positive(temperature: float) -> None:
    with pytest.raises(ParameterError, match="temperature"):
        SamplingParams(temperature=temperature)


def test_names_are_needed_and_distinct(predictor: KronosPredictor) -> None:
    with pytest.raises(DataError, match="no series"):
        predictor.forecast_many({}, 4)
    with pytest.raises(DataError, match="Several series are called 'A'"):
        predictor.forecast_many([candles(1, 40, "A"), candles(2, 40, "A")], 4)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f.drop(columns="low"), "no column low"),
        (lambda f: f.assign(close=np.nan), "Column close is nan in row 0"),
        (lambda f: f.assign(high="much"), "no number"),
        (lambda f: f.iloc[:1], "fewer than 2"),
    ],
)
def test_predict_refuses_what_it_cannot_use(predictor: KronosPredictor, change, sentence: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match=sentence):
        predictor.predict(change(candles(1, 30).frame), pred_len=4, verbose=False)


def test_predict_checks_its_timestamps(predictor: KronosPredictor) -> None:
    frame = candles(1, 30).frame
    future = pd.date_range("2025-01-01", periods=5, freq="h")
    with pytest.raises(ParameterError, match="5 times for pred_len 4"):
        predictor.predict(frame, frame.index, future, 4, verbose=False)
    with pytest.raises(ParameterError, match="29 times for 30 rows"):
        predictor.predict(frame, frame.index[1:], future, 5, verbose=False)
    with pytest.raises(ParameterError, match="leaves no history"):
        predictor.predict(frame, frame.index, None, CONTEXT, verbose=False)


def test_predict_tells_the_future_times_itself(predictor: KronosPredictor) -> None:
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
    with pytest.raises(ParameterError, match="strategy is"):
        predictor.predict(frame, pred_len=4, strategy="bold", verbose=False)


def test_a_tokenizer_of_other_bits_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"tokens of 4 \+ 4 bits, but the model reads 5 \+ 5"):
        KronosPredictor(random_model(0), random_tokenizer(0, bits=4), device="cpu")


def test_absent_devices_are_named() -> None:
    with pytest.raises(DeviceError, match="no device 'abacus'"):
        KronosPredictor(random_model(0), random_tokenizer(0), device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="no device 'cuda'"):
            KronosPredictor(random_model(0), random_tokenizer(0), device="cuda")
