"""Golden numbers of the published code for the checkpoints in this folder; see README.md for the tolerance."""

import copy
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import kronos
from kronos import Kronos, KronosPredictor, KronosTokenizer

FOLDER = Path(__file__).parent
TOLERANCE = 1e-4  # of the array's scale; in forecasts, of each column's
CASES = (
    "greedy_fits", "greedy_slides", "greedy_long_history", "sampled_fits", "sampled_slides", "sampled_top_k",
    "price_only", "no_amount", "batch",
)  # fmt: skip
ARRAYS = {
    "x", "stamp", "s1_ids", "s2_ids", "full_ids", "decode_half", "decode_full", "recon_s1", "recon", "quantized",
    "bsq_loss", "s1_logits", "s1_logits_no_stamp", "context", "s2_logits_last",
}  # fmt: skip
COLUMNS = ["open", "high", "low", "close", "volume", "amount"]
ARRAY_STARTS, ARRAY_ROWS = (10, 250), 40  # the windows of the sample that x and stamp are built from
CALENDAR = ("minute", "hour", "weekday", "day", "month")  # the order of a stamp's columns


@dataclass(frozen=True)
class Golden:
    """A checkpoint, the inputs, and the numbers expected from them."""

    folder: Path
    model: Kronos
    tokenizer: KronosTokenizer
    max_context: int
    cases: dict[str, dict[str, Any]]
    expected: dict[str, np.ndarray]
    candles: pd.DataFrame

    def tensor(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.expected[name])

    def predictor(self, model: Kronos | None = None) -> KronosPredictor:
        """Return a predictor of the checkpoint, or of another model with its tokenizer."""
        return KronosPredictor(model or self.model, self.tokenizer, device="cpu", max_context=self.max_context)

    def inputs(self, case: dict[str, Any]) -> list[tuple[pd.DataFrame, pd.Series, pd.Series]]:
        """Return the history, its timestamps and the future timestamps of every series of a case."""
        columns, times = case.get("cols", COLUMNS), self.candles["timestamps"]
        windows = []
        for start in case.get("starts", [case.get("start")]):
            end = start + case["ctx"]
            windows.append(
                (self.candles[columns].iloc[start:end], times.iloc[start:end], times.iloc[end : end + case["L"]])
            )
        return windows

    def forecast(self, name: str) -> np.ndarray:
        """Return the expected forecasts of a case, ``[series, pred_len, 6]``."""
        array = self.expected[f"predict/{name}"]
        return array if "starts" in self.cases[name] else array[None]


@pytest.fixture(scope="module", params=["tiny", "tiny_fixed_time"])
def golden(request: pytest.FixtureRequest) -> Golden:
    folder = FOLDER / request.param
    described = json.loads((folder / "cases.json").read_text("utf-8"))
    with np.load(folder / "expected.npz") as file:
        expected = dict(file)
    with resources.files("kronos.samples").joinpath("simulated_btc_1h.csv").open("rb") as sample:
        candles = pd.read_csv(sample, parse_dates=["timestamps"])
    model, tokenizer = Kronos.from_pretrained(folder), KronosTokenizer.from_pretrained(folder)
    return Golden(folder, model, tokenizer, described["max_context"], described["predict"], expected, candles)


def assert_close(actual: torch.Tensor | np.ndarray, expected: np.ndarray) -> None:
    array = np.asarray(actual.detach() if isinstance(actual, torch.Tensor) else actual)
    assert array.shape == expected.shape
    assert np.abs(array - expected).max() <= TOLERANCE * np.abs(expected).max()


def assert_forecasts_close(actual: list[pd.DataFrame], expected: np.ndarray) -> None:
    array = np.stack([frame.to_numpy() for frame in actual])
    assert array.shape == expected.shape
    assert (np.abs(array - expected) <= TOLERANCE * np.abs(expected).max(axis=(0, 1))).all()


def sampling_of(case: dict[str, Any]) -> dict[str, Any]:
    return {name: case[name] for name in ("T", "top_k", "top_p", "sample_count")}


def predict(predictor: KronosPredictor, golden: Golden, name: str, delay: pd.Timedelta | None = None) -> list:
    """Run a case, its timestamps moved by ``delay``."""
    case, shift = golden.cases[name], delay or pd.Timedelta(0)
    series = [(frame, past + shift, future + shift) for frame, past, future in golden.inputs(case)]
    torch.manual_seed(case["seed"])
    if "starts" in case:
        frames, x_times, y_times = (list(column) for column in zip(*series, strict=True))
        return predictor.predict_batch(frames, x_times, y_times, case["L"], **sampling_of(case), verbose=False)
    return [predictor.predict(*series[0], case["L"], **sampling_of(case), verbose=False)]


def rotate_table(model: Kronos, field: str, rows: int) -> Kronos:
    """Return a copy of the model with the rows of one calendar embedding moved down by ``rows``, cyclically."""
    rotated = copy.deepcopy(model)
    [key] = [key for key in rotated.state_dict() if key.startswith(f"time_emb.{field}_embed.")]
    table = rotated.state_dict()[key]  # shares its memory with the model
    table.copy_(table.roll(rows, dims=0))
    return rotated


def test_every_array_and_case_is_tested(golden: Golden) -> None:
    assert set(golden.cases) == set(CASES)
    assert set(golden.expected) == ARRAYS | {f"predict/{name}" for name in CASES}


def test_checkpoint_configuration(golden: Golden) -> None:
    for network, kind in ((golden.model, "model"), (golden.tokenizer, "tokenizer")):
        assert network.config == json.loads((golden.folder / kind / "config.json").read_text("utf-8"))
        assert not network.training


# Networks ------------------------------------------------------------------


def test_preprocess(golden: Golden) -> None:
    case = {"starts": ARRAY_STARTS, "ctx": ARRAY_ROWS, "L": 1}
    windows = golden.inputs(case)
    prepared = [golden.predictor().preprocess(*window) for window in windows]
    assert_close(np.stack([one.x for one in prepared]), golden.expected["x"])
    np.testing.assert_array_equal(np.stack([one.x_stamp for one in prepared]), golden.expected["stamp"])
    features = [kronos.calc_time_stamps(past) for _, past, _ in windows]
    np.testing.assert_array_equal(np.stack(features), golden.expected["stamp"])


def test_tokens(golden: Golden) -> None:
    x = golden.tensor("x")
    s1, s2 = golden.tokenizer.encode(x, half=True)
    np.testing.assert_array_equal(s1, golden.expected["s1_ids"])
    np.testing.assert_array_equal(s2, golden.expected["s2_ids"])
    np.testing.assert_array_equal(golden.tokenizer.encode(x), golden.expected["full_ids"])


def test_tokenizer_forward(golden: Golden) -> None:
    expected = golden.expected
    (coarse, full), loss, quantized, ids = golden.tokenizer(golden.tensor("x"))
    assert_close(coarse, expected["recon_s1"])
    assert_close(full, expected["recon"])
    assert_close(quantized, expected["quantized"])
    assert_close(loss, expected["bsq_loss"])
    np.testing.assert_array_equal(ids, expected["full_ids"])


def test_decoding_of_tokens(golden: Golden) -> None:
    expected = golden.expected
    s1, s2 = golden.tensor("s1_ids"), golden.tensor("s2_ids")
    assert_close(golden.tokenizer.decode([s1, s2], half=True), expected["decode_half"])
    assert_close(golden.tokenizer.decode(golden.tensor("full_ids")), expected["decode_full"])
    assert_close(golden.tokenizer.decode_coarse(s1), expected["recon_s1"])
    assert_close(golden.tokenizer.indices_to_bits([s1, s2], half=True), expected["quantized"])
    assert_close(golden.tokenizer.indices_to_bits(golden.tensor("full_ids")), expected["quantized"])


def test_model_logits(golden: Golden) -> None:
    expected = golden.expected
    s1, s2, stamp = (golden.tensor(name) for name in ("s1_ids", "s2_ids", "stamp"))
    s1_logits, context = golden.model.decode_s1(s1, s2, stamp)
    assert_close(s1_logits, expected["s1_logits"])
    assert_close(context, expected["context"])
    chosen = s1_logits[:, -1:].argmax(-1)
    assert_close(golden.model.decode_s2(context, chosen)[:, -1], expected["s2_logits_last"])
    assert_close(golden.model.decode_s1(s1, s2)[0], expected["s1_logits_no_stamp"])


def test_forward_has_the_same_s1_logits(golden: Golden) -> None:
    s1, s2, stamp = (golden.tensor(name) for name in ("s1_ids", "s2_ids", "stamp"))
    logits, _ = golden.model(s1, s2, stamp, use_teacher_forcing=True, s1_targets=s1)
    assert_close(logits, golden.expected["s1_logits"])


@pytest.mark.parametrize("field", CALENDAR)
def test_every_calendar_table_is_indexed_by_its_own_column(golden: Golden, field: str) -> None:
    """Move a table's rows and the stamps by as much: the logits stay.

    The sample's candles are hourly and all in January, so that on their own its stamps would never leave the first row
    of the minutes nor the second of the months.
    """
    s1, s2, stamp = (golden.tensor(name) for name in ("s1_ids", "s2_ids", "stamp"))
    rotated = rotate_table(golden.model, field, 3)
    rows = {"minute": 60, "hour": 24, "weekday": 7, "day": 32, "month": 13}[field]
    moved = stamp.clone()
    moved[..., CALENDAR.index(field)] = (moved[..., CALENDAR.index(field)] + 3) % rows
    assert_close(rotated.decode_s1(s1, s2, moved)[0], golden.expected["s1_logits"])
    unmoved = rotated.decode_s1(s1, s2, stamp)[0].detach().numpy()
    expected = golden.expected["s1_logits"]
    assert np.abs(unmoved - expected).max() > 100 * TOLERANCE * np.abs(expected).max()


# Forecasts -----------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_predict(golden: Golden, name: str) -> None:
    assert_forecasts_close(predict(golden.predictor(), golden, name), golden.forecast(name))


def test_predict_returns_a_float32_frame_of_the_future(golden: Golden) -> None:
    [frame] = predict(golden.predictor(), golden, "sampled_fits")
    [(_, _, future)] = golden.inputs(golden.cases["sampled_fits"])
    assert list(frame.columns) == COLUMNS
    assert (frame.dtypes == np.float32).all()
    assert (frame.index == pd.DatetimeIndex(future)).all()


def test_predict_reads_minutes(golden: Golden) -> None:
    """Candles seven minutes past the hour, with the minutes' table moved by seven rows, give the same forecast."""
    name = "sampled_slides"
    predictor = golden.predictor(rotate_table(golden.model, "minute", 7))
    delay = pd.Timedelta(minutes=7)
    assert_forecasts_close(predict(predictor, golden, name, delay), golden.forecast(name))


def test_forecasts_have_no_dropout(golden: Golden) -> None:
    """Networks with dropout, in training mode before and after the predictor takes them, forecast without it."""
    networks = []
    for network in (golden.model, golden.tokenizer):
        dropout = {key: 0.5 for key in network.config if key.endswith("dropout_p")}
        other = type(network)(**network.config | dropout).train()
        other.load_state_dict(network.state_dict())
        networks.append(other)
    predictor = KronosPredictor(*networks, device="cpu", max_context=golden.max_context)
    assert_forecasts_close(predict(predictor, golden, "sampled_fits"), golden.forecast("sampled_fits"))
    predictor.model.train()
    predictor.tokenizer.train()
    assert_forecasts_close(predict(predictor, golden, "sampled_fits"), golden.forecast("sampled_fits"))


def test_a_batch_of_mixed_lengths(golden: Golden) -> None:
    """The series of the first length are sampled first, so that they get what a batch of their own gets."""
    case = golden.cases["batch"]
    first, *others = golden.inputs(case)
    frame, past, future = first
    frames, x_times, y_times = (
        list(column) for column in zip(first, (frame.iloc[5:], past.iloc[5:], future), *others, strict=True)
    )
    torch.manual_seed(case["seed"])
    actual = golden.predictor().predict_batch(frames, x_times, y_times, case["L"], **sampling_of(case), verbose=False)
    assert len(actual) == 4
    assert_forecasts_close([actual[0], *actual[2:]], golden.forecast("batch"))


@pytest.mark.parametrize("name", CASES)
def test_predict_in_three_steps(golden: Golden, name: str) -> None:
    """preprocess, generate and postprocess together are predict."""
    case, predictor = golden.cases[name], golden.predictor()
    prepared = [predictor.preprocess(*window) for window in golden.inputs(case)]
    arrays = (np.stack([getattr(one, key) for one in prepared]) for key in ("x", "x_stamp", "y_stamp"))
    torch.manual_seed(case["seed"])
    values = predictor.generate(*arrays, case["L"], **sampling_of(case), verbose=False)
    frames = [predictor.postprocess(value, one) for value, one in zip(values, prepared, strict=True)]
    assert_forecasts_close(frames, golden.forecast(name))


@torch.no_grad()
def step_by_step(golden: Golden, case: dict[str, Any], x: torch.Tensor, stamps: torch.Tensor) -> np.ndarray:
    """Forecast from the networks' published interface alone: the whole window again at every step, without a cache."""

    def sample(logits: torch.Tensor) -> torch.Tensor:
        return kronos.sample_from_logits(logits, case["T"], case["top_k"], case["top_p"])

    count, context = case["sample_count"], golden.max_context
    s1, s2 = (ids.repeat_interleave(count, dim=0) for ids in golden.tokenizer.encode(x, half=True))
    stamps = stamps.repeat_interleave(count, dim=0)
    for _ in range(case["L"]):
        rows = s1.shape[1]
        window = slice(max(0, rows - context), rows)
        s1_logits, states = golden.model.decode_s1(s1[:, window], s2[:, window], stamps[:, window])
        next_s1 = sample(s1_logits[:, -1])
        next_s2 = sample(golden.model.decode_s2(states, next_s1)[:, -1])
        s1, s2 = torch.cat((s1, next_s1), dim=1), torch.cat((s2, next_s2), dim=1)
    values = golden.tokenizer.decode([s1[:, -context:], s2[:, -context:]], half=True)
    return values.unflatten(0, (len(x), count)).mean(dim=1).numpy()


@pytest.mark.parametrize("name", CASES)
def test_published_functions(golden: Golden, name: str) -> None:
    """auto_regressive_inference, and a plain loop around sample_from_logits, give predict's numbers."""
    case, predictor = golden.cases[name], golden.predictor()
    prepared = [predictor.preprocess(*window) for window in golden.inputs(case)]
    x, x_stamp, y_stamp = (
        torch.from_numpy(np.stack([getattr(one, key) for one in prepared])) for key in ("x", "x_stamp", "y_stamp")
    )
    torch.manual_seed(case["seed"])
    stepwise = step_by_step(golden, case, x, torch.cat((x_stamp, y_stamp), dim=1))
    torch.manual_seed(case["seed"])
    whole = kronos.auto_regressive_inference(
        golden.tokenizer, golden.model, x, x_stamp, y_stamp, golden.max_context, case["L"], **sampling_of(case)
    )
    assert whole.shape[1] == min(case["ctx"] + case["L"], golden.max_context)
    assert_close(whole, stepwise)
    for values in (whole, stepwise):
        forecasts = [
            predictor.postprocess(value[-case["L"] :], one) for value, one in zip(values, prepared, strict=True)
        ]
        assert_forecasts_close(forecasts, golden.forecast(name))
