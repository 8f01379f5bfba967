"""The published JSON: complete, finite, and true to the record."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kronos.live.entries import decode_paths, format_time
from kronos.live.page.documents import Moment, definitions, forecast_document, past_forecast
from live.sites import HEAD, HORIZON, LATE, MISSED, UNRESOLVED, make_site


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("documents"))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("simulated"), simulated=True)


@pytest.fixture
def moment(site):
    return Moment(site.now, HEAD)


@pytest.fixture
def document(site, moment):
    return forecast_document(site.result, None, {}, moment)


def test_a_forecast_says_when_and_of_what_it_was_made(site, document):
    assert document["as_of"] == site.result.entry.origin == "2026-03-08T02:00:00.000000Z"
    assert document["made_at"] == "2026-03-08T02:00:07.000000Z"
    assert document["next_origin"] == "2026-03-08T03:00:00.000000Z"
    assert (document["symbol"], document["interval"], document["source"]) == ("BTCUSDT", "1h", "exchange")
    assert (document["status"], document["state"], document["recorded"]) == ("forecast", "raw", True)
    assert document["head"] == {"seq": HEAD[0], "hash": HEAD[1]}
    assert document["made_of"]["seed"] == site.result.live.seed
    assert document["made_of"]["history"]["sha256"] == site.result.entry.history["sha256"]
    assert document["protocol"]["model"]["name"] == "historical-volatility"


def test_it_is_late_after_one_and_a_half_and_stale_after_three_intervals(document):
    origin = pd.Timestamp(document["as_of"])
    assert pd.Timestamp(document["late_at"]) - origin == pd.Timedelta("90min")
    assert pd.Timestamp(document["stale_at"]) - origin == pd.Timedelta("3h")


def test_its_steps_are_those_of_the_paths(site, document):
    closes = site.result.live.shown.channel("close")
    steps = document["steps"]
    assert len(steps) == HORIZON
    np.testing.assert_allclose([step["mean"] for step in steps], closes.mean(axis=0), rtol=1e-8)
    np.testing.assert_allclose([step["median"] for step in steps], np.median(closes, axis=0), rtol=1e-8)
    for level in ("50", "80", "95"):
        inside = [step["bands"][level][0] <= step["median"] <= step["bands"][level][1] for step in steps]
        assert all(inside)
    path = site.result.live.shown.sample(site.result.live.shown.representative())
    np.testing.assert_allclose([step["candle"]["close"] for step in steps], path["close"], rtol=1e-8)


def test_probabilities_are_those_of_the_record(site, document):
    recorded = site.result.entry.probabilities["upside"]["raw"]
    shown = document["probabilities"]["upside"]["raw"]
    assert [shown["estimate"], shown["low"], shown["high"]] == pytest.approx(recorded, abs=1e-6)
    assert set(document["definitions"]) == {"upside", "amplification"}
    assert f"{HORIZON} candles" in document["definitions"]["upside"]


def test_json_has_no_nan(site, moment):
    shown = site.result.live.shown
    broken = replace(site.result, live=replace(site.result.live, seed=3), reason="")
    document = forecast_document(broken, None, {"coverage": [float("nan"), math.inf]}, moment)
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text)["track_record"] == {"coverage": [None, None]}
    assert shown.samples == document["paths"]


def test_simulated_is_said_at_the_top(simulated, document):
    found = forecast_document(simulated.result, None, {}, Moment(simulated.now, HEAD))
    assert found["simulated"] is True
    assert list(found).index("simulated") < 6
    assert document["simulated"] is False


def test_while_nothing_is_new_the_last_forecast_stays_with_its_time(site, document):
    later = Moment(site.now + pd.Timedelta("1h"), (1050, "ab" * 32))
    waiting = replace(site.result, status="waiting", live=None, entry=None, fetched=None, reason="No source answers.")
    found = forecast_document(waiting, document, {}, later)
    assert found["as_of"] == document["as_of"]
    assert found["steps"] == document["steps"]
    assert (found["status"], found["reason"]) == ("waiting", "No source answers.")
    assert found["head"]["seq"] == 1050
    assert found["checked_at"] == format_time(later.now)


def test_a_forecast_of_another_series_does_not_stay(site, document, moment):
    waiting = replace(site.result, status="waiting", live=None, entry=None, fetched=None)
    found = forecast_document(waiting, {**document, "id": "0" * 16}, {}, moment)
    assert (found["as_of"], found["steps"], found["simulated"]) == (None, [], False)


def test_a_stand_in_is_simulated_although_its_series_is_not(site, simulated, moment):
    stand_in = replace(site.result, status="stand-in", live=simulated.result.live, entry=None, reason="No exchange.")
    document = forecast_document(stand_in, None, {}, moment)
    assert (document["simulated"], document["stand_in"], document["recorded"]) == (True, True, False)
    assert document["protocol"]["simulated"] is False
    chances = document["probabilities"]["upside"]
    assert chances["raw"]["estimate"] == pytest.approx(float(simulated.result.live.raw.upside_probability()), abs=1e-6)


def test_an_empty_record_has_no_head(site):
    assert forecast_document(site.result, None, {}, Moment(site.now, (0, "0" * 64)))["head"] is None


def test_definitions_are_in_both_languages(site):
    from kronos.reports import Translator

    protocol = site.result.series.protocol
    assert definitions(protocol)["upside"] != definitions(protocol, Translator("zh"))["upside"]


# Past forecasts -------------------------------------------------------------


def test_a_scored_forecast_is_beside_what_came(site):
    entry, score = site.recent[0]
    past = past_forecast(entry, score)
    assert past["outcome"]["close"] == pytest.approx([row[4] for row in score.candles], rel=1e-8)
    assert past["outcome"]["sha256"] == score.sha256
    closes = entry.last_close * np.exp(decode_paths(entry.paths["raw"], HORIZON))
    assert past["low80"][-1] == pytest.approx(np.quantile(closes[:, -1], 0.1, method="weibull"), rel=1e-8)
    inside = past["low80"][-1] <= past["outcome"]["close"][-1] <= past["high80"][-1]
    assert past["outcome"]["inside"]["80"][-1] == str(int(inside))
    assert past["outcome"]["rose"] == (past["outcome"]["close"][-1] > past["last_close"])


KINDS = {
    0: ("forecast", "score"),
    LATE: ("late", None),
    MISSED: ("missed", None),
    UNRESOLVED: ("forecast", "unresolved"),
}


@pytest.mark.parametrize(("number", "kinds"), KINDS.items())
def test_every_origin_has_its_kind(site, number, kinds):
    past = past_forecast(*site.recent[number])
    outcome = past["outcome"]
    assert (past["kind"], outcome and outcome["kind"]) == kinds
    json.dumps(past, allow_nan=False)


def test_what_has_not_closed_is_open(site):
    assert past_forecast(*site.recent[-1])["outcome"] is None


def test_a_score_is_no_origin(site):
    with pytest.raises(TypeError, match="score"):
        past_forecast(site.recent[0][1], None)
