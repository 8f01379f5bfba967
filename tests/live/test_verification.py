"""The rules of the record: what a valid chain may not say either."""

from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kronos.live.chain import GENESIS
from kronos.live.entries import UNIT, candles_digest, decode_paths, encode_paths
from kronos.live.record import Record
from kronos.live.score_audit import _decode_many
from kronos.live.scoring import score_forecast
from kronos.live.verification import verify
from live.records import (
    HORIZON,
    entries,
    forecast,
    missed,
    protocol,
    revision,
    score,
    time,
    unresolved,
)

FIRST = forecast(0)
SCORE = score(FIRST)


def changed_score(**changes):
    """The score of the first forecast with other scores of its first contender."""
    raw = {**SCORE.scores["raw"], **changes}
    return replace(SCORE, scores={**SCORE.scores, "raw": raw})


def score_by_other_prices(entry):
    """The score of a forecast by candles whose closes are one higher, in itself right."""
    candles = [[*candle[:4], candle[4] + 1] for candle in score(entry).candles]
    outcome, scores = score_forecast(entry, candles)
    return replace(score(entry), candles=candles, sha256=candles_digest(candles), outcome=outcome, scores=scores)


def other_candles(*closes):
    """The score's candles with other closes, and their right digest."""
    candles = [[*candle[:4], close] for candle, close in zip(SCORE.candles, closes, strict=True)]
    return replace(SCORE, candles=candles, sha256=candles_digest(candles))


def problems(*appended):
    """What the verification says of a record that begins with a protocol."""
    with TemporaryDirectory() as folder, Record.open(f"{folder}/record.db") as record:
        record.append([protocol(), *appended])
        return verify(record).problems


def test_a_valid_record(url):
    with Record.open(url) as record:
        assert verify(record).head == (0, GENESIS)
        rows = record.append(entries())
        found = verify(record, [(0, GENESIS), (1, rows[0].hash)])
    assert found.problems == ()
    assert found.ok
    assert (found.rows, found.series, found.forecasts, found.scores) == (len(rows), 2, 5, 2)
    assert found.head == (rows[-1].seq, rows[-1].hash)
    assert found.seconds > 0


def test_rows_appended_meanwhile_are_left_out(tmp_path):
    with Record.open(tmp_path / "record.db") as record:
        record.append([protocol(), missed(0)])
        head = record.head
        record.head = lambda: (head(), record.append([missed(1)]))[0]
        assert verify(record).rows == 2


WRONG = {
    "an origin again": ([missed(1), missed(0)], 3, f"its origin {time(0)} is not after {time(1)}"),
    "an origin left out": ([FIRST, missed(2)], 3, f"origin {time(1)} has no row"),
    "origins left out": ([FIRST, missed(9)], 3, f"{HORIZON - 1} origins have no row"),
    "a future gap": ([replace(missed(1), made_at=time(0))], 2, "a missed origin lies in the future"),
    "a forecast too late": (
        [replace(FIRST, server_time=time(0.3))],
        2,
        f"it was written at {time(0.3)}, too late to count",
    ),
    "late in time": (
        [replace(forecast(0, late=True), server_time=time(0.2), made_at=time(0.2))],
        2,
        "it is entered as late but was written in time",
    ),
    "a forecast of the past": (
        [replace(forecast(0, late=True), server_time=time(1))],
        2,
        f"it was written at {time(1)}, after its first candle had closed",
    ),
    "candles of the past": (
        [replace(FIRST, times=forecast(-1).times)],
        2,
        f"its candles are not the {HORIZON} after its origin",
    ),
    "too few candles": (
        [replace(FIRST, times=FIRST.times[:2])],
        2,
        f"its candles are not the {HORIZON} after its origin",
    ),
    "simulated candles in a real series": (
        [replace(FIRST, simulated=True)],
        2,
        "its candles are simulated, and those of its series are not",
    ),
    "another source": ([replace(FIRST, source="elsewhere")], 2, "its source elsewhere is not one of the protocol's"),
    "another contender": (
        [replace(FIRST, paths={**FIRST.paths, "best": FIRST.paths["raw"]})],
        2,
        "its contenders are not those of the protocol",
    ),
    "no paths of the model": (
        [replace(FIRST, paths={"garch": FIRST.paths["garch"]})],
        2,
        "its contenders are not those of the protocol",
    ),
    "more paths": (
        [replace(FIRST, paths={name: encode_paths(np.zeros((9, HORIZON))) for name in FIRST.paths})],
        2,
        "it has another number of paths than the protocol",
    ),
    "a forecast written after what came": (
        [FIRST, missed(1), missed(2), missed(3), replace(SCORE, fetched_at=time(9)), forecast(4)],
        7,
        f"it says that it was written at {time(4.01)}, but a row before it is of {time(9)}",
    ),
    "candles in disorder": (
        [replace(FIRST, times=FIRST.times[::-1])],
        2,
        f"its candles are not the {HORIZON} after its origin",
    ),
    "a score of nothing": (
        [FIRST, score(forecast(1))],
        3,
        "it scores no forecast of the series, or one that has an outcome",
    ),
    "a score of a late one": (
        [forecast(0, late=True), SCORE],
        3,
        "it scores no forecast of the series, or one that has an outcome",
    ),
    "an outcome of nothing": (
        [FIRST, unresolved(forecast(1))],
        3,
        "it concerns no forecast of the series, or one that has an outcome",
    ),
    "missing candles of others": (
        [FIRST, replace(unresolved(FIRST), missing=[time(50)])],
        3,
        "the candles that it misses are not those of the forecast",
    ),
    "no missing candles": (
        [FIRST, replace(unresolved(FIRST), missing=[])],
        3,
        "the candles that it misses are not those of the forecast",
    ),
    "a wrong digest": ([FIRST, replace(SCORE, sha256="0" * 64)], 3, "the digest of its candles is wrong"),
    "candles of others": (
        [FIRST, replace(score(forecast(1)), origin=time(0))],
        3,
        "its candles are not those of the forecast",
    ),
    "candles that changed in silence": (
        [FIRST, forecast(1), SCORE, score_by_other_prices(forecast(1))],
        5,
        f"its candle of {time(1)} differs from the one of an earlier score, without a revision",
    ),
    "an early score": (
        [FIRST, replace(SCORE, fetched_at=time(2.9))],
        3,
        "it was scored before the last candle had closed",
    ),
    "a polished score": (
        [FIRST, changed_score(crps=[value - 2e-9 for value in SCORE.scores["raw"]["crps"]])],
        3,
        "its scores do not follow from the forecast and the candles",
    ),
    "a band that held": (
        [FIRST, changed_score(inside=dict.fromkeys(("50", "80", "95"), "111"))],
        3,
        "its scores do not follow from the forecast and the candles",
    ),
    "a contender left out": (
        [FIRST, replace(SCORE, scores={"raw": SCORE.scores["raw"]})],
        3,
        "its scores do not follow from the forecast and the candles",
    ),
    "scores that are no numbers": (
        [FIRST, changed_score(crps="good")],
        3,
        "its scores do not follow from the forecast and the candles",
    ),
    "other candles": (
        [FIRST, other_candles(101.0, 102.0, 103.0)],
        3,
        "its scores do not follow from the forecast and the candles",
    ),
    "a price of zero": (
        [FIRST, other_candles(100.0, 0.0, 100.0)],
        3,
        "its scores do not follow from the forecast and the candles",
    ),
    "a price that is none": (
        [FIRST, other_candles("a", "b", "c")],
        3,
        "its scores cannot be computed from the forecast and the candles",
    ),
    "another outcome": (
        [FIRST, replace(SCORE, outcome={name: not flag for name, flag in SCORE.outcome.items()})],
        3,
        "its outcome does not follow from the candles",
    ),
    "paths that are none": (
        [replace(FIRST, paths={"raw": "%", "garch": "%"}), SCORE],
        3,
        "its scores cannot be computed from the forecast and the candles",
    ),
    "a time that is none": ([replace(FIRST, made_at=5, server_time="now")], 2, "its text is no entry of the record"),
    "a revision at no time": ([replace(revision(SCORE), origin="yesterday")], 2, "its text is no entry of the record"),
    "no protocol": ([missed(0, "other")], 2, "its series has no protocol before it"),
    "another id": (
        [replace(protocol("ETHUSDT"), series="other")],
        2,
        "the id of the series does not follow from its protocol",
    ),
    "a protocol of nothing": (
        [replace(protocol(), series="other", protocol={})],
        2,
        "its text is no entry of the record",
    ),
    "an interval that is none": (
        [protocol("ETHUSDT", interval="an hour")],
        2,
        "its text is no entry of the record",
    ),
    "a second protocol": ([replace(protocol(), origin=time(0))], 2, "the series has a protocol already"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_contradicts_itself_is_found(name):
    appended, seq, sentence = WRONG[name]
    assert (seq, sentence) in problems(*appended)


def test_a_bad_score_does_not_hide_among_good_ones():
    forecasts = [forecast(hour) for hour in range(8)]
    scores = [score(entry) for entry in forecasts]
    bad = [replace(scores[3], outcome={}), replace(scores[5], candles=[["x"] * 5] * HORIZON)]
    scores[3], scores[5] = bad
    assert {seq for seq, _ in problems(*forecasts, *scores)} == {2 + 8 + 3, 2 + 8 + 5}


def test_scores_of_another_processor_are_equal():
    crps = (np.array(SCORE.scores["raw"]["crps"]) * (1 + 1e-11)).tolist()
    assert problems(FIRST, changed_score(crps=crps)) == ()


def test_clocks_that_are_wrong_by_a_constant():
    """The source's clock decides: this machine's may be wrong, and steps back when it is set."""
    assert problems(replace(FIRST, made_at=time(20)), replace(forecast(1), made_at=time(-20))) == ()


def test_months_have_no_fixed_length():
    opened = protocol(interval="1mo")
    months = ["2026-03-01", "2026-04-01", "2026-05-01"]
    times = [f"{month}T00:00:00.000000Z" for month in months]
    entry = replace(FIRST, series=opened.series, times=times)
    fetched = ["2026-05-31T23:00:00.000000Z", "2026-06-01T00:00:00.000000Z"]
    early, right = (replace(score(entry), fetched_at=moment) for moment in fetched)
    assert problems(opened, entry, right) == ()
    assert problems(opened, entry, early) == ((4, "it was scored before the last candle had closed"),)


def test_markets_with_pauses_have_other_origins():
    """Where candles do not follow each other at once, the next origin is not known."""
    friday = replace(FIRST, times=[time(0), time(50), time(51)])
    assert problems(friday, forecast(51)) == ()


def test_series_are_checked_on_their_own():
    other = protocol("ETHUSDT")
    assert problems(other, FIRST, forecast(5, other.series), forecast(1), forecast(6, other.series)) == ()


@given(arrays(np.int32, st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 5))))
def test_many_paths_are_read_as_one_is(whole):
    texts = [encode_paths(paths * UNIT) for paths in whole]
    expected = [decode_paths(text, whole.shape[2]) for text in texts]
    assert np.array_equal(_decode_many(texts, whole.shape[2]), expected)


@pytest.mark.parametrize("text", ["%AAA", "AA\nA", "ÄAAA", "A=AA", "AAAA", "AA"])
def test_many_paths_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        _decode_many([text, text], 1)
