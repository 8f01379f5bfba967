"""`prepare_evaluation`: which data, dates and origins an evaluation gets."""

from dataclasses import dataclass, replace

import pandas as pd
import pytest

from evaluation.random_walks import candles, instruments
from kronos.errors import DataError, ParameterError
from kronos.evaluation import Dates, RollingOrigins, make_plan, prepare_evaluation
from kronos.evaluation import dates as dates_module

ROLLING = RollingOrigins(horizon=10)
SPLITS = "market,validation_from,test_from\nleft,2024-01-06,2024-01-10\nright,2024-01-06,2024-01-10\n"


@pytest.fixture
def folder(tmp_path):
    """Two markets with one random walk each."""
    for seed, market in enumerate(("left", "right")):
        (tmp_path / "candles" / market).mkdir(parents=True)
        candles(seed, 300).frame.reset_index().to_csv(tmp_path / "candles" / market / f"{market}.csv", index=False)
    return tmp_path / "candles"


@dataclass(frozen=True)
class Model:
    """As much of a predictor as the setup needs."""

    least_history: int = 1
    new_from: dict[str, pd.Timestamp] | None = None


@pytest.fixture(autouse=True)
def recorded_cutoffs(monkeypatch):
    monkeypatch.setattr(dates_module, "cutoffs", lambda model, plan: model.new_from)


def test_given_dates(folder):
    setup = prepare_evaluation([folder], ROLLING, start="2024-01-08", end="2024-01-09 12:00")
    assert setup.description == "candles from 2024-01-08 to 2024-01-09 12:00"
    dates = Dates(pd.Timestamp("2024-01-08"), pd.Timestamp("2024-01-09 12:00"))
    assert setup.dates == {"left": dates, "right": dates}
    assert setup.plan.digest() == make_plan(setup.instruments, ROLLING, dates).digest()


def test_instruments_instead_of_paths():
    walks = instruments(2, 300)
    setup = prepare_evaluation(walks, ROLLING, start=pd.Timestamp("2024-01-08"))
    assert setup.instruments == tuple(walks)
    assert setup.plan.digest() == make_plan(walks, ROLLING, Dates(pd.Timestamp("2024-01-08"))).digest()


def test_dates_of_a_split(folder, tmp_path):
    (tmp_path / "splits.csv").write_text(SPLITS)
    test = prepare_evaluation([folder], ROLLING)
    assert test.description == f"test dates of {tmp_path / 'splits.csv'}"
    assert test.dates["left"] == Dates(pd.Timestamp("2024-01-10"), None)
    validation = prepare_evaluation([folder], ROLLING, split="validation", splits=tmp_path / "splits.csv")
    assert validation.dates["right"] == Dates(pd.Timestamp("2024-01-06"), pd.Timestamp("2024-01-10"))
    (tmp_path / "splits.csv").write_text(
        "market,interval,validation_from,test_from\nleft,1h,2024-01-05,2024-01-08\nleft,,2024-01-01,2024-01-02\n"
        "right,4h,2024-01-01,2024-01-02\nright,,2024-01-06,2024-01-10\n"
    )
    apart = prepare_evaluation([folder], ROLLING)
    assert apart.dates["left"] == Dates(pd.Timestamp("2024-01-08"), None), "the line of its interval"
    assert apart.dates["right"] == Dates(pd.Timestamp("2024-01-10"), None), "the line for other intervals"


def test_default_dates_are_new_to_all_models_or_the_last_candles(folder):
    new_from = {"left 1h": pd.Timestamp("2024-01-12"), "right 1h": pd.Timestamp("2025-01-01")}
    earlier = {group: time - pd.Timedelta("90d") for group, time in new_from.items()}
    models = [Model(new_from=new_from), Model(new_from=earlier), Model()]
    setup = prepare_evaluation([folder], ROLLING, predictors=models)
    last = setup.instruments[1].candles.index[210]
    assert setup.dates == {"left": Dates(new_from["left 1h"], None), "right": Dates(last, None)}
    assert setup.description == "candles that are new to the models; of right 1h the last 30 % of each series"
    unknown = prepare_evaluation([folder], ROLLING, predictors=[Model()])
    assert unknown.dates["left"] == Dates(last, None)
    assert unknown.description.startswith("the last 30 % of each series")


def test_origins_have_the_history_that_every_model_needs(folder):
    models = [Model(least_history=100), Model(least_history=200)]
    setup = prepare_evaluation([folder], ROLLING, predictors=models, start="2024-01-04")
    assert setup.plan.rolling == replace(ROLLING, least_history=200)
    assert setup.plan.known.min() == 200


def test_models_are_loaded_after_data_and_dates_are_checked(folder):
    loaded = []

    def load():
        loaded.append(True)
        return [Model()]

    with pytest.raises(DataError, match="No origin"):
        prepare_evaluation([folder], ROLLING, start="2031-01-01", predictors=load)
    with pytest.raises(ParameterError, match="'nowhere'"):
        prepare_evaluation(["nowhere"], ROLLING, predictors=load)
    assert not loaded
    prepare_evaluation([folder], ROLLING, predictors=load)
    assert loaded


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"start": "2024-01-08", "split": "test"}, "not by both"),
        ({"end": "2024-01-08", "splits": "splits.csv"}, "not by both"),
        ({"start": "2024-01-09", "end": "2024-01-08"}, "2024-01-08 is not after the start 2024-01-09"),
        ({"split": "validation"}, "No validation dates for the market 'left' of left"),
        ({"splits": "none.csv"}, "none.csv"),
    ],
)
def test_invalid_dates_are_refused(folder, arguments, words):
    with pytest.raises((ParameterError, DataError), match=words):
        prepare_evaluation([folder], ROLLING, **arguments)


def test_a_market_without_dates_is_named(folder, tmp_path):
    (tmp_path / "splits.csv").write_text(SPLITS.replace("right", "fx"))
    with pytest.raises(ParameterError, match=r"No test dates in .*splits\.csv for the market 'right' of right"):
        prepare_evaluation([folder], ROLLING)


def test_strict_refuses_files_that_cannot_be_read(folder):
    (folder / "bad.csv").write_text("timestamps,open,high,low,close\nyesterday,1,1,1,1\n")
    assert len(prepare_evaluation([folder], ROLLING).data.unreadable) == 1
    with pytest.raises(DataError, match=r"bad\.csv"):
        prepare_evaluation([folder], ROLLING, strict=True)
