"""Evaluation of candles with jumps, wrong prices and flat stretches: such origins are left out and counted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from evaluation.random_walks import instruments
from kronos import Candles
from kronos.errors import DataError, ParameterError
from kronos.evaluation import (
    Actuals,
    Dates,
    Evaluation,
    ForecastPaths,
    Instrument,
    RollingOrigins,
    RollingSettings,
    baseline_forecasters,
    evaluate,
    make_plan,
)
from kronos.evaluation.aggregate import Scores
from kronos.metrics import coverage, in_band

ROLLING = RollingOrigins(horizon=5)
TEST = Dates(pd.Timestamp("2023-06-01"))


def clean() -> pd.DataFrame:
    """Daily candles of a random walk."""
    rng = np.random.default_rng(5)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, 420)))
    opened = np.append(50.0, close[:-1])
    values = {"open": opened, "high": np.maximum(opened, close) * 1.002, "low": np.minimum(opened, close) / 1.002}
    index = pd.bdate_range("2023-01-02", periods=420)
    return pd.DataFrame({**values, "close": close, "volume": rng.uniform(1e5, 5e5, 420)}, index=index)


def with_glitch() -> pd.DataFrame:
    frame = clean()
    frame.iloc[300, :4] *= 100
    return frame


def with_split() -> pd.DataFrame:
    frame = clean()
    frame.iloc[300:, :4] /= 10
    return frame


def instrument(frame: pd.DataFrame) -> Instrument:
    return Instrument("one", "us_equity", Candles.from_frame(frame, symbol="one"))


def run(frame: pd.DataFrame, folder, quality="paper") -> Evaluation:
    plan = make_plan([instrument(frame)], ROLLING, TEST, quality=quality)
    models = baseline_forecasters(["historical-volatility", "drift"])
    return evaluate(plan, [], folder, RollingSettings(20), baselines=models, steps=[5])


def words(evaluation: Evaluation) -> dict[tuple[str, str], str]:
    return {(own.forecaster, own.about): own.word for own in evaluation.verdicts if own.group != "all"}


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [with_glitch, with_split])
def test_a_wrong_price_changes_no_verdict(tmp_path, wrong) -> None:
    right, found = run(clean(), tmp_path / "clean"), run(wrong(), tmp_path / "wrong")
    assert words(found) == words(right)
    [left_out] = found.plan.left_out
    assert (left_out.series, left_out.reason) == ("one", "jump")
    assert left_out.origins + len(found.plan) == len(right.plan)
    assert any(f"{left_out.origins} origins were left out" in warning for warning in found.warnings)
    assert found.to_dict()["left_out"][0]["origins"] == left_out.origins
    assert not right.plan.left_out


def test_all_origins_are_kept_on_request() -> None:
    plans = [make_plan([instrument(frame)], ROLLING, TEST, quality="none") for frame in (clean(), with_split())]
    assert np.array_equal(plans[0].known, plans[1].known)
    assert not plans[1].left_out
    with pytest.raises(ParameterError, match="quality"):
        make_plan([instrument(clean())], ROLLING, quality="strict")  # type: ignore[arg-type]


def test_no_origin_without_an_anomaly_is_left_out_and_none_with_one_is_kept() -> None:
    plan = make_plan([instrument(with_split())], RollingOrigins(horizon=3, stride=1, lookback=70))
    spans = [range(known - 70, known + 3) for known in range(65, 418)]
    expected = [span.start + 70 for span in spans if not (299 in span and 300 in span)]
    assert plan.known.tolist() == expected


def test_without_an_origin_the_reason_is_given() -> None:
    with pytest.raises(DataError, match=r"price jump .*one \(\d+\).*--quality none"):
        make_plan([instrument(with_split())], ROLLING, Dates(pd.Timestamp("2024-03-01")))


def test_flat_stretches_are_left_out_of_the_horizon_and_the_unit() -> None:
    frame = clean()
    frame.iloc[200:260, :4] = frame["close"].iloc[199]
    plan = make_plan([instrument(frame)], RollingOrigins(horizon=2, stride=1))
    kept = set(plan.known.tolist())
    assert kept.isdisjoint(range(200, 320))
    assert {197, 330} <= kept  # the stretch begins with the close at 199, which it repeats
    assert plan.left_out[0].reason == "flat"


def test_equal_prices_lie_within_a_band_of_no_width() -> None:
    assert in_band(0.1 + 0.2, 0.1 + 0.2, 0.3) == 0
    assert in_band(0.1 + 0.2, 0.1 + 0.2, 0.3, 1e-12) == 1
    assert np.isnan(in_band(0.1, 0.2, np.nan, 1.0))
    assert coverage([1.0], [1.0], [1.0 + 1e-13], 1e-12) == 1
    with pytest.raises(ParameterError, match="tolerance"):
        in_band(0.0, 1.0, 0.5, -1.0)


def scored(returns: dict[str, np.ndarray]) -> Scores:
    """Scores of forecasters at the origins of two random walks."""
    plan = make_plan(instruments(2, 400), RollingOrigins(horizon=4), quality="none")
    actuals = Actuals.of(plan)
    zero = np.zeros(len(plan))
    paths = {name: ForecastPaths(name, array(len(plan)), zero) for name, array in returns.items()}  # type: ignore[operator]
    return Scores.of(
        replace(actuals, sigma=np.where(np.arange(len(plan)) == 3, np.nan, actuals.sigma)), paths, plan.rolling
    )


def test_every_figure_of_every_contender_is_over_the_same_origins() -> None:
    def full(count):
        return np.random.default_rng(0).normal(0, 0.01, (count, 9, 4)).astype(np.float32)

    def without_two(count):
        paths = full(count)
        paths[[5, 6]] = np.nan
        return paths

    def mostly_missing(count):
        paths = full(count)
        paths[: int(0.8 * count)] = np.nan
        return paths

    scores = scored({"full": full, "without two": without_two, "mostly missing": mostly_missing})
    at = {name: set(own["origin"]) for name, own in scores.steps.groupby("forecaster")}
    assert at["full"] == at["without two"]
    assert at["full"].isdisjoint({3, 5, 6})
    assert at["mostly missing"] < at["full"]
    assert not scores.steps[["crps", "inside_80", "pit", "width_80"]].isna().any().any()
    assert set(scores.trajectories["origin"]) == at["full"]


def test_unchanged_prices_neither_rise_nor_miss_their_band() -> None:
    plan = make_plan([instrument(clean())], RollingOrigins(horizon=4))
    actuals = Actuals.of(plan)
    noise = np.random.default_rng(0).normal(0, 1e-10, (len(plan), 9, 4)).astype(np.float32)
    flat = replace(actuals, returns=np.full_like(actuals.returns, 3e-17))
    steps = Scores.of(flat, {"flat": ForecastPaths("flat", noise, np.zeros(len(plan)))}, plan.rolling).steps
    assert (steps["inside_80"] == 1).all()
    assert (steps["up"] == 0.5).all()
    assert steps["rose"].isna().all()
