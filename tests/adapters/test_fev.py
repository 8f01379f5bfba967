"""The model of fev: rolling windows of a local dataset, and the numbers of the predictor."""

import numpy as np
import pandas as pd
import pytest

from kronos import adapters
from kronos.adapters import flat_candles
from kronos.errors import DataError
from kronos.inference import KronosPredictor
from networks import random_model, random_tokenizer

fev = pytest.importorskip("fev", reason="needs fev, of the extra fev, which make test does not install")
KronosModel = adapters.KronosModel

ROWS, HORIZON, LEVELS = 40, 3, [0.1, 0.5, 0.9]
PRICES = ["open", "high", "low", "close"]
OPTIONS = {"samples": 6, "seed": 4}


@pytest.fixture(scope="module")
def predictor():
    return KronosPredictor(random_model(0, layers=1), random_tokenizer(0), device="cpu", max_context=64)


@pytest.fixture(autouse=True)
def local(tmp_path, monkeypatch):
    """Nothing is asked of a hub, and nothing is cached outside the test's folder."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


def market(seed, rows=ROWS):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    opens = np.r_[100, close[:-1]]
    high, low = np.maximum(opens, close) * 1.002, np.minimum(opens, close) * 0.998
    times = pd.date_range("2024-01-01", periods=rows, freq="D")
    table = {"open": opens, "high": high, "low": low, "close": close, "volume": rng.uniform(1, 2, rows)}
    return pd.DataFrame({"timestamp": times, **table, "sales": rng.integers(0, 3, rows).astype(float)})


@pytest.fixture
def make_task(tmp_path):
    def make(tables, **options):
        long = pd.concat([table.assign(id=name) for name, table in tables.items()])
        long.to_parquet(tmp_path / "data.parquet")
        settings = {"horizon": HORIZON, "num_windows": 2, "quantile_levels": LEVELS, "eval_metric": "SQL"}
        return fev.Task(dataset_path=str(tmp_path / "data.parquet"), **settings | options)

    return make


def windows(table):
    """The histories of two rolling windows, and the times of their forecasts."""
    indexed = table.set_index("timestamp")
    for end in (ROWS - 2 * HORIZON, ROWS - HORIZON):
        yield indexed.iloc[:end], indexed.index[end : end + HORIZON]


def check(predictions, forecast, column, offset=0.0):
    """Compare the predictions of a series with a forecast, which is lowered by an offset."""
    np.testing.assert_allclose(predictions["predictions"], forecast.median()[column] - offset, rtol=1e-12, atol=1e-9)
    quantiles = forecast.quantiles(LEVELS, column) - offset
    for level in LEVELS:
        np.testing.assert_allclose(predictions[str(level)], quantiles[level], rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("chunk", [1, 256])
@pytest.mark.parametrize("target", ["close", ["close", "high"]])
def test_candles_have_the_numbers_of_the_predictor(predictor, make_task, monkeypatch, target, chunk):
    monkeypatch.setattr("kronos.adapters.fev._CHUNK", chunk)
    tables = {"a": market(1), "b": market(2)}
    targets = [target] if isinstance(target, str) else target
    past = [name for name in (*PRICES, "volume") if name not in targets]
    task = make_task(tables, target=target, past_dynamic_columns=past, extra_metrics=["MASE"])
    model = KronosModel(predictor, **OPTIONS)
    predictions = model.fit_predict(task)
    for position, (name, table) in enumerate(tables.items()):
        for window, (history, times) in enumerate(windows(table)):
            known = history.drop(columns="sales")
            forecast = predictor.forecast_many({name: known}, HORIZON, timestamps={name: times}, **OPTIONS)[name]
            for column in targets:
                check(predictions[window][column][position], forecast, column)
    assert model.treatment == {"kronos_candles": 4, "kronos_flat": 0, "kronos_raised": 0, "kronos_gaps": 0}
    assert model.inference_time > 0
    summary = task.evaluation_summary(predictions, model.model_name, extra_info=model.treatment)
    assert summary["num_forecasts"] == 4 * len(targets)
    assert np.isfinite([summary["SQL"], summary["MASE"]]).all()


@pytest.mark.parametrize("options", [{}, {"known_dynamic_columns": PRICES}, {"past_dynamic_columns": ["close"]}])
def test_other_targets_are_flat_candles(predictor, make_task, options):
    table = market(1)
    table.loc[[0, 7], "sales"] = np.nan
    model = KronosModel(predictor, **OPTIONS)
    predictions = model.fit_predict(make_task({"shop": table}, target="sales", **options))
    for window, (history, times) in enumerate(windows(table)):
        flat = flat_candles(history["sales"], history.index, "shop")
        forecast = predictor.forecast(flat.candles, HORIZON, timestamps=times, **OPTIONS)
        check(predictions[window]["sales"][0], forecast, "close", flat.offset)
    assert model.treatment == {"kronos_candles": 0, "kronos_flat": 2, "kronos_raised": 2, "kronos_gaps": 2}


def test_candles_and_numbers_in_one_task(predictor, make_task):
    table = market(1)
    task = make_task({"a": table}, target=["close", "sales"], past_dynamic_columns=["open", "high", "low"])
    model = KronosModel(predictor, **OPTIONS)
    predictions = model.fit_predict(task)
    [(history, times), _] = windows(table)
    candles = predictor.forecast_many({"a": history[PRICES]}, HORIZON, timestamps={"a": times}, **OPTIONS)["a"]
    check(predictions[0]["close"][0], candles, "close")
    flat = flat_candles(history["sales"], history.index, "a/sales")
    alone = predictor.forecast(flat.candles, HORIZON, timestamps=times, **OPTIONS)
    check(predictions[0]["sales"][0], alone, "close", flat.offset)
    assert model.treatment == {"kronos_candles": 2, "kronos_flat": 2, "kronos_raised": 2, "kronos_gaps": 0}
    assert np.isfinite(task.evaluation_summary(predictions, model.model_name)["SQL"])


def test_series_that_cannot_be_forecast_are_named(predictor, make_task):
    task = make_task({"short": market(1, 4), "long": market(2)}, target="close", num_windows=1)
    with pytest.raises(DataError, match=r"^short"):
        KronosModel(predictor, **OPTIONS).fit_predict(task)
    task = make_task({"a": market(1)}, target="close", past_dynamic_columns=["open", "high"])
    with pytest.raises(DataError, match=r"^The dataset has no column for low; .*: rename them\.$"):
        KronosModel(predictor, **OPTIONS).fit_predict(task)


def test_fev_finds_the_model_by_its_name(predictor):
    assert fev.ForecastingModel.get_model_cls("kronos") is KronosModel
    assert KronosModel(predictor).model_name != "kronos"  # the model that makes the forecasts
    assert KronosModel.trained_on_datasets == []
