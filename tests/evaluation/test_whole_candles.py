"""Scores of whole candles: forecasters of known quality, point in time, and what cannot be scored."""

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from evaluation.random_walks import GaussianForecaster
from kronos.candles import Candles
from kronos.evaluation import (
    ALL,
    Actuals,
    RollingOrigins,
    RollingSettings,
    Scores,
    baseline_forecasters,
    evaluate,
    make_plan,
    run_rolling,
    score_whole_candles,
)
from kronos.evaluation.candle_losses import CandleLosses
from kronos.evaluation.candle_references import SAME_TIME, CandleReferences
from kronos.evaluation.origins import Instrument
from kronos.evaluation.report import EvaluationReport
from kronos.evaluation.whole_candles import MEASURES
from kronos.forecasts import Forecast, ForecastMetadata
from kronos.metrics import crps
from kronos.reports import PageOptions

pytestmark = pytest.mark.slow

GROUP, HORIZON = "market 1h", 12
ONE_CANDLE = ("range", "volume", "upper_wick", "lower_wick", "gap")


def market(seed, rows=900, *, interval="1h", volume=True, daily=1.0):
    """Candles with clustered volatility, gaps, wicks, and volumes that follow the time of day."""
    rng = np.random.default_rng(seed)
    logs = np.zeros(rows)
    for i in range(1, rows):
        logs[i] = 0.95 * logs[i - 1] + rng.normal(0, 0.3)
    scale = 0.005 * np.exp(logs)
    gaps, bodies = rng.normal(0, 0.2, rows) * scale, rng.normal(0, 1, rows) * scale
    close = 100 * np.exp(np.cumsum(gaps + bodies))
    opened = close * np.exp(-bodies)
    high = np.maximum(opened, close) * np.exp(rng.exponential(0.5, rows) * scale)
    low = np.minimum(opened, close) * np.exp(-rng.exponential(0.5, rows) * scale)
    hours = np.arange(rows) % 24
    volumes = np.exp(rng.normal(5, 0.3, rows) + daily * np.sin(hours / 24 * 2 * np.pi)) * volume
    table = pd.DataFrame({"open": opened, "high": high, "low": low, "close": close, "volume": volumes})
    frequency = {"1h": "h", "1d": "D"}[interval]
    table.index = pd.date_range("2020-01-01", periods=rows, freq=frequency, name="timestamps")
    return Candles.from_frame(table, symbol=f"market-{seed}", interval=interval)


def instruments(count=4, **options):
    return [Instrument(f"market-{seed}", "market", market(seed, **options)) for seed in range(count)]


@dataclass
class DonorForecaster:
    """Each candle of a path is one of the last 64 candles, continued from the path's close: the reference itself."""

    name: str = "donors"
    description: str = "candles of the past"

    def identity(self):
        return {"name": self.name}

    def forecast(self, histories, times, *, samples, seed):
        return {name: self._forecast(name, own, times[name], samples, seed) for name, own in histories.items()}

    def _forecast(self, name, history, times, samples, seed):
        rng = np.random.default_rng([seed, *name.encode()])
        values = history.frame.to_numpy()[-65:]
        donors = rng.integers(1, 65, size=(samples, len(times)))
        paths = values[donors]  # [S, H, 6]
        close = np.full(samples, values[-1, 3])
        for step in range(len(times)):
            paths[:, step, :4] *= (close / values[donors[:, step] - 1, 3])[:, None]
            close = paths[:, step, 3]
        return Forecast(paths, times, history, ForecastMetadata(self.name))


@dataclass
class ClairvoyantForecaster:
    """Forecasts the actual candles; `spread` is the standard deviation of the log prices of the paths around them."""

    plan: object
    name: str = "clairvoyant"
    description: str = "the future"
    spread: float = 1e-6

    def identity(self):
        return {"name": self.name}

    def forecast(self, histories, times, *, samples, seed):
        origins = {self.plan.name(origin): origin for origin in range(len(self.plan))}
        found = {}
        for name, history in histories.items():
            noise = np.exp(np.random.default_rng(seed).normal(0, self.spread, (samples, 1, 1)))
            paths = self.plan.actual(origins[name]) * noise
            found[name] = Forecast(paths, times[name], history, ForecastMetadata(self.name))
        return found


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    plan = make_plan(instruments(6), RollingOrigins(horizon=HORIZON))
    forecasters = [DonorForecaster(), ClairvoyantForecaster(plan), GaussianForecaster("closes")]
    baselines = baseline_forecasters(["historical-volatility", "last-value"])
    folder = tmp_path_factory.mktemp("candles") / "run"
    return evaluate(plan, forecasters, folder, RollingSettings(20), baselines=baselines)


def select(evaluation, forecaster, measure, step=HORIZON, group=GROUP):
    [own] = evaluation.whole_candles.select(forecaster, group, measure, step)
    return own


def test_every_measure_is_scored_at_every_step_in_every_group(evaluation):
    found = {(own.group, own.measure, own.step) for own in evaluation.whole_candles.select("donors")}
    found |= {(own.group, own.measure, own.step) for own in evaluation.whole_candles.select("donors", GROUP)}
    expected = {(group, measure, step) for group in (ALL, GROUP) for measure in MEASURES for step in (1, 4, 8, HORIZON)}
    assert found == {key for key in expected if not (key[1] in ("span", "close_span") and key[2] == 1)}
    assert all(own.n == len(evaluation.plan) for own in evaluation.whole_candles.figures if own.measure == "range")


def test_the_reference_itself_has_no_skill(evaluation):
    for measure in ONE_CANDLE:
        for step in (1, HORIZON):
            own = select(evaluation, "donors", measure, step)
            assert abs(own.skill.estimate) < 0.03
            assert own.skill.low < 0.01
            assert own.skill.high > -0.01
    ratio = select(evaluation, "donors", "gap").details["median_ratio"]
    assert ratio.low < 1.05
    assert ratio.high > 0.95


def test_a_clairvoyant_forecaster_is_perfect(evaluation):
    for measure in MEASURES:
        own = select(evaluation, "clairvoyant", measure)
        assert own.skill.estimate > 0.99
        assert own.word == "better"
        assert "better than" in own.sentence
    for own in evaluation.whole_candles.clustering:
        if own.forecaster == "clairvoyant":
            assert own.paths == pytest.approx(own.actual, abs=0.01)


def test_volumes_by_time_of_day_are_a_stronger_reference(evaluation):
    recent, same = (select(evaluation, "donors", key) for key in ("volume", "volume_time_of_day"))
    assert same.skill.high < recent.skill.low
    assert same.word == "worse"
    assert same.crps == pytest.approx(recent.crps, rel=0.05)


def test_distinct_volumes_are_counted(evaluation):
    distinct = select(evaluation, "donors", "volume").details["distinct_values"].estimate
    expected = 64 * (1 - (63 / 64) ** 20)  # of 20 draws from 64 values
    assert distinct == pytest.approx(expected, abs=0.1)
    assert select(evaluation, "clairvoyant", "volume").details["distinct_values"].estimate == pytest.approx(20)


def test_independent_candles_cluster_less_than_the_market(evaluation):
    for of in ("returns", "ranges"):
        [own] = [
            own
            for own in evaluation.whole_candles.clustering
            if (own.forecaster, own.group, own.of) == ("donors", GROUP, of)
        ]
        assert own.paths == pytest.approx(-1 / HORIZON, abs=0.03)
        assert own.actual == pytest.approx(own.history, abs=0.1)
        assert own.difference.high < 0
        assert own.word == "weaker"
        assert own.sentence.startswith(f"{of} cluster less than in the market")


def test_forecasters_of_closes_are_omitted_with_a_reason(evaluation):
    found = evaluation.whole_candles
    omitted = {(own.forecaster, measure): own.reason for own in found.omitted for measure in own.measures}
    assert "point forecast" in omitted["last-value", "range"]
    assert "no wicks" in omitted["closes", "range"]
    assert "no wicks" in omitted["closes", "span"]
    assert "close before" in omitted["closes", "gap"]
    assert "constant" in omitted["closes", "volume"]
    assert not found.select("last-value")
    assert {own.measure for own in found.select("closes")} == {"close_span"}
    assert {own.of for own in found.clustering if own.forecaster == "closes"} == {"returns"}


def test_figures_equal_direct_computations(evaluation):
    plan, sigma = evaluation.plan, evaluation.actuals.sigma
    steps = [1, 4, 8, HORIZON]
    references = CandleReferences.of(plan, steps)
    for origin in (0, 100, len(plan) - 1):
        known = int(plan.known[origin])
        frame = plan.instruments[int(plan.series[origin])].candles.frame
        logs = np.log(frame)
        ranges, gaps = logs["high"] - logs["low"], logs["open"] - logs["close"].shift()
        past = ranges.iloc[known - 64 : known].to_numpy()
        exact = crps(past, ranges.iloc[known + 3], draws=math.inf)
        assert references.crps["range", "recent"][origin, 1] == pytest.approx(float(exact))
        assert references.median_gap[origin] == pytest.approx(gaps.iloc[known - 64 : known].abs().median())
        history, target = logs["volume"].iloc[:known], logs.iloc[known + 7]
        same = history[history.index.hour == target.name.hour].tail(SAME_TIME).to_numpy()
        exact = crps(same, target["volume"], draws=math.inf)
        expected = float(exact) if len(same) >= 10 else math.nan
        found = references.crps["volume", "time_of_day"][origin, 2]
        assert found == pytest.approx(expected, nan_ok=True)
        first = max(0, known - 512)
        spans = [
            logs["high"].iloc[i : i + HORIZON].max() - logs["low"].iloc[i : i + HORIZON].min()
            for i in range(first, known - HORIZON + 1)
        ]
        future = logs.iloc[known : known + HORIZON]
        exact = crps(np.array(spans), future["high"].max() - future["low"].min(), draws=math.inf)
        assert references.crps["span", "recent"][origin, 3] == pytest.approx(float(exact))
        first = max(1, known - 512)
        closes = [np.ptp(logs["close"].iloc[i - 1 : i + HORIZON]) for i in range(first, known - HORIZON + 1)]
        exact = crps(np.array(closes), np.ptp(logs["close"].iloc[known - 1 : known + HORIZON]), draws=math.inf)
        assert references.crps["close_span", "recent"][origin, 3] == pytest.approx(float(exact))
    own = select(evaluation, "donors", "range", 4)
    losses = evaluation.paths["donors"].candles.of_quantity("range")[:, 3] / sigma
    assert own.crps == pytest.approx(losses.mean())
    assert own.reference_crps == pytest.approx((references.crps["range", "recent"][:, 1] / sigma).mean())
    assert own.skill.estimate == pytest.approx(1 - own.crps / own.reference_crps)


def test_the_document_has_whole_candles(evaluation):
    document = json.loads(json.dumps(evaluation.to_dict(), default=str))["whole_candles"]
    assert list(document) == ["figures", "clustering", "omitted"]
    own = document["figures"][0]
    keys = "forecaster group measure step n left_out crps reference_crps skill word undefined details sentence"
    assert list(own) == keys.split()


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("Whole candles", "Volume, time of day", "cluster less", "Opening gap", "Distinct volumes at step")),
        ("zh", ("整根K线", "成交量（同一时刻）", "聚集较弱", "开盘跳空", "各步不同成交量个数")),
    ],
)
def test_the_page_has_whole_candles(evaluation, language, words):
    kept = [own for own in evaluation.contenders if own.name not in ("clairvoyant", "closes")]  # fewer figures
    page = EvaluationReport(replace(evaluation, contenders=tuple(kept)), PageOptions(language=language)).render()
    section = page.partition('<section id="candles">')[2].partition("</section>")[0]
    assert all(word in section for word in words)
    assert "closes, range, upper wick" in section  # what is not scored
    assert "last-value: all of its paths are equal" in section
    skill = select(evaluation, "donors", "range", 4).skill
    assert f"{100 * skill.estimate:.1f} %".replace("-", "−") in section


def changed(plan, first, factor=1.5):
    """The plan with other candles from ``first`` positions after each series' last origin on."""
    result = []
    for number, instrument in enumerate(plan.instruments):
        start = int(plan.known[plan.series == number].max()) + first
        frame = instrument.candles.frame.copy()
        frame.iloc[start:] *= factor ** np.arange(1, len(frame) - start + 1)[:, None]
        result.append(Instrument(instrument.name, instrument.market, Candles.from_frame(frame, interval="1h")))
    return replace(plan, instruments=tuple(result))


def last_origins(plan):
    rows = [int(np.flatnonzero(plan.series == number)[-1]) for number in range(len(plan.instruments))]
    return plan.select(np.array(rows))


def test_references_and_paths_do_not_depend_on_the_future(tmp_path):
    plan = last_origins(make_plan(instruments(3), RollingOrigins(horizon=HORIZON)))
    first = 4
    other = changed(plan, first)
    before, after = (CandleReferences.of(own, [1, first, HORIZON]) for own in (plan, other))
    for key, losses in before.crps.items():
        np.testing.assert_array_equal(losses[:, :2], after.crps[key][:, :2], err_msg=str(key))
        assert (losses[:, 2] != after.crps[key][:, 2]).any() or key[0] in ("upper_wick", "lower_wick")
    np.testing.assert_array_equal(before.median_gap, after.median_gap)
    np.testing.assert_array_equal(before.past_clustering, after.past_clustering)
    assert (before.actual_clustering != after.actual_clustering).any()
    forecasts = [
        run_rolling(own, [DonorForecaster()], tmp_path / name, RollingSettings(5))["donors"].candles
        for own, name in ((plan, "a"), (other, "b"))
    ]
    np.testing.assert_array_equal(*(own.crps[:, :, :first] for own in forecasts))
    for name in ("distinct_volumes", "median_gap", "undefined", "clustering", "sampled"):
        np.testing.assert_array_equal(*(getattr(own, name) for own in forecasts))


def test_units_do_not_matter(tmp_path):
    plans = []
    for factor, volume in ((1.0, 1.0), (1000.0, 1e-3)):
        own = []
        for instrument in instruments(2, rows=400):
            frame = instrument.candles.frame.copy()
            frame.iloc[:, :4] *= factor
            frame.iloc[:, 4] *= volume
            own.append(Instrument(instrument.name, "market", Candles.from_frame(frame, interval="1h")))
        plans.append(make_plan(own, RollingOrigins(horizon=HORIZON)))
    found = [
        evaluate(plan, [DonorForecaster()], tmp_path / str(place), RollingSettings(10), baselines=[]).whole_candles
        for place, plan in enumerate(plans)
    ]
    assert len(found[0].figures) == len(found[1].figures) > 50
    for one, other in zip(found[0].figures, found[1].figures, strict=True):
        assert other.skill.estimate == pytest.approx(one.skill.estimate, abs=1e-4)
        assert other.crps == pytest.approx(one.crps, rel=1e-4)
    for one, other in zip(found[0].clustering, found[1].clustering, strict=True):
        assert other.paths == pytest.approx(one.paths, abs=1e-5)


def test_candles_without_volume_or_range_are_left_out_and_counted(tmp_path):
    own = instruments(2, rows=600)
    quiet = []
    for place, instrument in enumerate(own):
        frame = instrument.candles.frame.copy()
        frame.iloc[::5, 4] = 0.0
        frame.iloc[3::7, :3] = frame.iloc[3::7, [3]].to_numpy()
        quiet.append(Instrument(f"quiet-{place}", "quiet", Candles.from_frame(frame, interval="1h")))
    plan = make_plan(quiet, RollingOrigins(horizon=HORIZON), quality="none")
    found = evaluate(plan, [DonorForecaster()], tmp_path, RollingSettings(10), baselines=[])
    zero = np.mean([plan.actual(i)[HORIZON - 1, 4] == 0 for i in range(len(plan))])
    flat = np.mean([np.ptp(plan.actual(i)[HORIZON - 1, :4]) == 0 for i in range(len(plan))])
    for measure, share, usual in (("volume", zero, 1 / 5), ("upper_wick", flat, 1 / 7)):
        [figures] = found.whole_candles.select("donors", "quiet 1h", measure, HORIZON)
        assert figures.left_out == round(share * len(plan))
        assert figures.n == len(plan) - figures.left_out
        assert figures.undefined == pytest.approx(usual, abs=0.03)
        assert math.isfinite(figures.skill.estimate)


def test_reasons_of_the_candles_are_stated(tmp_path):
    daily = [Instrument(f"daily-{i}", "stocks", market(i, 200, interval="1d")) for i in range(2)]
    silent = [Instrument(f"silent-{i}", "fx", market(i, 200, volume=False)) for i in range(2)]
    plan = make_plan([*daily, *silent], RollingOrigins(horizon=5))
    found = evaluate(plan, [DonorForecaster()], tmp_path, RollingSettings(10), baselines=[]).whole_candles
    omitted = {(own.group, measure): own.reason for own in found.omitted for measure in own.measures}
    assert omitted["stocks 1d", "volume_time_of_day"] == "an interval of a day or longer"
    assert omitted["fx 1h", "volume"] == omitted["fx 1h", "volume_time_of_day"] == "zero volumes"
    assert "fewer than 8 steps" in omitted[ALL, "clustering"]
    assert not found.clustering
    assert {own.group for own in found.figures if own.measure == "volume"} == {"stocks 1d", ALL}


# Stored losses -------------------------------------------------------------------


def strip(folder, *, version=None):
    """Turn shards into those of another version."""
    for path in folder.rglob("*.npz"):
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files if version or not name.startswith("candle_")}
        if version:
            arrays["candle_version"] = np.array(version)
        np.savez(path, **arrays)


@pytest.mark.parametrize("version", [None, 999])
def test_runs_of_other_versions_load_without_whole_candles(tmp_path, version):
    plan, settings = make_plan(instruments(2, rows=300), RollingOrigins(horizon=HORIZON)), RollingSettings(5)
    before = run_rolling(plan, [DonorForecaster()], tmp_path / "run", settings)["donors"]
    strip(tmp_path / "run", version=version)
    found = evaluate(plan, [DonorForecaster()], tmp_path / "run", settings, baselines=[])
    np.testing.assert_array_equal(found.paths["donors"].returns, before.returns)
    assert before.candles is not None
    assert found.paths["donors"].candles is None
    [reason] = {own.reason for own in found.whole_candles.omitted if own.forecaster == "donors"}
    assert "earlier version" in reason


def test_stored_losses_are_those_computed(tmp_path):
    plan = make_plan(instruments(2, rows=300), RollingOrigins(horizon=HORIZON))
    paths = run_rolling(plan, [DonorForecaster()], tmp_path / "run", RollingSettings(5))["donors"]
    again = run_rolling(plan, [DonorForecaster()], tmp_path / "run", RollingSettings(5))["donors"]
    np.testing.assert_array_equal(paths.candles.crps, again.candles.crps)
    without = run_rolling(plan, [DonorForecaster()], tmp_path / "w", RollingSettings(5), whole_candles=False)["donors"]
    assert without.candles is None
    np.testing.assert_array_equal(paths.returns, without.returns)


def test_chunks_do_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    candles = market(0, 400).frame.to_numpy()
    paths = [np.stack([candles[i : i + 10] for i in rng.integers(300, size=count)]) for count in (6, 6, 4, 6, 6)]
    closes, actual = candles[50:55, 3], [candles[i : i + 10] for i in range(51, 56)]
    whole = CandleLosses.of(paths, closes, actual)
    monkeypatch.setattr("kronos.evaluation.candle_losses._CHUNK", 1)
    single = CandleLosses.of(paths, closes, actual)
    for name in ("crps", "distinct_volumes", "median_gap", "undefined", "clustering", "sampled"):
        np.testing.assert_allclose(getattr(whole, name), getattr(single, name), rtol=1e-5, atol=1e-7)


def test_origins_without_a_forecast_are_unknown(tmp_path):
    @dataclass
    class Late(DonorForecaster):
        name: str = "late"

        def forecast(self, histories, times, *, samples, seed):
            known = {name: own for name, own in histories.items() if len(own) >= 200}
            return super().forecast(known, times, samples=samples, seed=seed)

    plan = make_plan(instruments(2, rows=400), RollingOrigins(horizon=HORIZON))
    paths = run_rolling(plan, [Late(), DonorForecaster()], tmp_path / "run", RollingSettings(5))
    unknown = np.isnan(paths["late"].candles.crps).all(axis=(1, 2))
    np.testing.assert_array_equal(unknown, plan.known < 200)
    actuals = Actuals.of(plan)
    found = score_whole_candles(plan, actuals, paths, Scores.of(actuals, paths, plan.rolling))
    assert {own.n for own in found.figures if own.measure == "range"} == {int((plan.known >= 200).sum())}
