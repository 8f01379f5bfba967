"""Every published forecast is reproduced: greedy and sampled, sliding, long, batched, with columns missing."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

import kronos
from kronos import Kronos, KronosPredictor, KronosTokenizer, zoo

TOLERANCE = 1e-4  # of each column's scale
CASES = (
    "greedy_fits", "greedy_slides", "greedy_long_history", "sampled_fits", "sampled_slides", "sampled_top_k",
    "price_only", "no_amount", "batch",
)  # fmt: skip


class Golden(NamedTuple):
    predictor: KronosPredictor
    cases: dict[str, dict[str, Any]]
    expected: dict[str, np.ndarray]
    candles: pd.DataFrame


@pytest.fixture(scope="module", params=["tiny", "tiny_fixed_time"])
def golden(request: pytest.FixtureRequest, shared: Path) -> Golden:
    folder = shared / "golden" / request.param
    cases = json.loads((folder / "cases.json").read_text())
    with np.load(folder / "expected.npz") as file:
        expected = dict(file)
    candles = pd.read_csv(shared / "golden/official/regression_input.csv", parse_dates=["timestamps"])
    model, tokenizer = Kronos.from_pretrained(folder), KronosTokenizer.from_pretrained(folder)
    predictor = KronosPredictor(model, tokenizer, device="cpu", max_context=cases["max_context"])
    return Golden(predictor, cases["predict"], expected, candles)


def inputs(golden: Golden, case: dict[str, Any], start: int) -> tuple[pd.DataFrame, pd.Series, pd.Series]:
    """A history, its timestamps, and those of the future."""
    end = start + case["ctx"]
    columns = case.get("cols", ["open", "high", "low", "close", "volume", "amount"])
    times = golden.candles["timestamps"]
    return golden.candles[columns].iloc[start:end], times.iloc[start:end], times.iloc[end : end + case["L"]]


def run(golden: Golden, case: dict[str, Any]) -> list[pd.DataFrame]:
    sampling = {name: case[name] for name in ("T", "top_k", "top_p", "sample_count")}
    series = [inputs(golden, case, start) for start in case.get("starts", [case.get("start")])]
    frames, x_times, y_times = (list(column) for column in zip(*series, strict=True))
    torch.manual_seed(case["seed"])
    if "starts" in case:
        return golden.predictor.predict_batch(frames, x_times, y_times, case["L"], **sampling, verbose=False)
    return [golden.predictor.predict(frames[0], x_times[0], y_times[0], case["L"], **sampling, verbose=False)]


def assert_close(got: np.ndarray, want: np.ndarray) -> None:
    assert got.shape == want.shape
    assert (np.abs(got - want) <= TOLERANCE * np.abs(want).max(axis=tuple(range(want.ndim - 1)))).all()


def test_every_case_is_tested(golden: Golden) -> None:
    assert set(CASES) == set(golden.cases)


@pytest.mark.parametrize("name", CASES)
def test_predict(golden: Golden, name: str) -> None:
    frames = run(golden, golden.cases[name])
    got = np.stack([frame.to_numpy() for frame in frames])
    want = golden.expected[f"predict/{name}"]
    assert_close(got if "starts" in golden.cases[name] else got[0], want)


def test_predict_returns_a_float32_frame_of_the_future(golden: Golden) -> None:
    case = golden.cases["sampled_fits"]
    frame = run(golden, case)[0]
    assert list(frame.columns) == ["open", "high", "low", "close", "volume", "amount"]
    assert (frame.dtypes == np.float32).all()
    assert (frame.index == pd.DatetimeIndex(inputs(golden, case, case["start"])[2])).all()


def test_training_mode_changes_nothing(golden: Golden) -> None:
    before = run(golden, golden.cases["sampled_fits"])[0]
    golden.predictor.model.train()
    golden.predictor.tokenizer.train()
    after = run(golden, golden.cases["sampled_fits"])[0]
    golden.predictor.model.eval()
    golden.predictor.tokenizer.eval()
    pd.testing.assert_frame_equal(before, after)


def test_series_of_other_lengths_follow_in_the_same_batch(golden: Golden) -> None:
    """Lists may mix lengths: the first length's draws come first, so they are those of a batch of their own."""
    case = golden.cases["batch"]
    sampling = {name: case[name] for name in ("T", "top_k", "top_p", "sample_count")}
    whole = [inputs(golden, case, start) for start in case["starts"]]
    short = tuple(part.iloc[5:] if i < 2 else part for i, part in enumerate(whole[0]))
    frames, x_times, y_times = (list(column) for column in zip(whole[0], short, *whole[1:], strict=True))
    torch.manual_seed(case["seed"])
    got = golden.predictor.predict_batch(frames, x_times, y_times, case["L"], **sampling, verbose=False)
    assert len(got) == 4
    assert_close(np.stack([got[i].to_numpy() for i in (0, 2, 3)]), golden.expected["predict/batch"])


def test_steps_apart_give_what_predict_gives(golden: Golden) -> None:
    """preprocess, generate and postprocess are predict, cut in three; the function of the engine agrees."""
    case = golden.cases["sampled_slides"]
    df, x_time, y_time = inputs(golden, case, case["start"])
    prepared = golden.predictor.preprocess(df, x_time, y_time)
    arrays = prepared.x[None], prepared.x_stamp[None], prepared.y_stamp[None]
    sampling = case["T"], case["top_k"], case["top_p"], case["sample_count"]
    torch.manual_seed(case["seed"])
    values = golden.predictor.generate(*arrays, case["L"], *sampling, verbose=False)
    frame = golden.predictor.postprocess(values[0], prepared)
    assert_close(frame.to_numpy(), golden.expected["predict/sampled_slides"])
    torch.manual_seed(case["seed"])
    whole = kronos.auto_regressive_inference(
        golden.predictor.tokenizer, golden.predictor.model, *(torch.from_numpy(a) for a in arrays),
        golden.predictor.max_context, case["L"], T=case["T"], top_k=case["top_k"], top_p=case["top_p"],
        sample_count=case["sample_count"],
    )  # fmt: skip
    assert whole.shape == (1, golden.predictor.max_context, 6)
    np.testing.assert_allclose(whole[:, -case["L"] :], values, atol=1e-5)


@pytest.fixture(scope="module")
def official() -> KronosPredictor:
    # Only what can't be had is skipped; weights that are there and don't load are a failure.
    try:
        for name, kind in (("kronos-small", "model"), ("kronos-tokenizer-base", "tokenizer")):
            zoo.locate(name, kind=kind)  # type: ignore[arg-type]
    except kronos.errors.CheckpointError as error:
        pytest.skip(f"needs published weights: {error}")
    return KronosPredictor.from_pretrained("kronos-small", device="cpu")


@pytest.mark.hub
@pytest.mark.parametrize("context", [512, 256])
def test_official_forecast(official: KronosPredictor, shared: Path, context: int) -> None:
    candles = pd.read_csv(shared / "golden/official/regression_input.csv", parse_dates=["timestamps"])
    want = pd.read_csv(shared / f"golden/official/regression_output_{context}.csv")
    past, future = candles.iloc[:context], candles.iloc[context : context + 8]
    torch.manual_seed(123)
    got = official.predict(
        past, past["timestamps"], future["timestamps"], 8, T=1.0, top_k=1, top_p=1.0, sample_count=1, verbose=False
    )
    columns = [c for c in got.columns if c in want.columns]
    assert columns
    np.testing.assert_allclose(got[columns].to_numpy(), want[columns].to_numpy(), rtol=1e-5)


@pytest.mark.hub
@pytest.mark.parametrize(("context", "expected"), [(512, 0.008979), (256, 0.003741)])
def test_official_error(official: KronosPredictor, shared: Path, context: int, expected: float) -> None:
    candles = pd.read_csv(shared / "golden/official/regression_input.csv", parse_dates=["timestamps"])
    starts = candles.iloc[context : len(candles) - 30].sample(4, random_state=123).sort_index().index
    errors = []
    torch.manual_seed(123)
    for start in starts:
        past, future = candles.iloc[start - context : start], candles.iloc[start : start + 30]
        got = official.predict(past, past["timestamps"], future["timestamps"], 30, top_k=1, top_p=1.0, verbose=False)
        prices = ["open", "high", "low", "close"]
        errors.append(((got[prices].to_numpy() - future[prices].to_numpy()) ** 2).mean())
    assert np.mean(errors) == pytest.approx(expected, abs=1e-6)
