"""Up to when checkpoints have seen candles: what is recorded, and what is not made up."""

import json
import pickle
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.errors import CheckpointError
from kronos.zoo import DEFAULT_MODEL, CheckpointRef, find, list_checkpoints, resolve_checkpoint, trained_until
from kronos.zoo.catalog import BUNDLED, cutoff, latest, read_cutoffs

bundled = pytest.mark.skipif(not (BUNDLED / DEFAULT_MODEL).is_dir(), reason="the bundled model is not there yet")
days = st.dates().map(lambda day: day.isoformat())
told = st.dictionaries(st.sampled_from(["all", "fx", "crypto", "us_equity"]), days, min_size=1)


def record(folder, **content):
    (folder / "kronos.json").write_text(json.dumps(content))


def test_published_weights_are_new_to_july_2024_and_unpublished_ones_are_none():
    for entry in list_checkpoints():
        if not entry.bundled:
            assert dict(entry.trained_until) == ({"all": "2024-07-01"} if entry.published else {})
            assert not entry.selected_until
            located = CheckpointRef(Path("nowhere"), entry.name, entry, None, entry.kind)
            assert trained_until(located) == ({"all": "2024-07-01"} if entry.published else None)


@bundled
def test_the_bundled_model_says_so_by_market():
    entry = find(DEFAULT_MODEL)
    assert (entry.trained_until["crypto"], entry.selected_until["crypto"]) == ("2017-10-01", "2018-01-01")
    seen = trained_until(resolve_checkpoint(DEFAULT_MODEL, kind="model"))
    assert seen == dict(entry.selected_until)
    assert seen["cn_ashare"] == "2026-01-15"
    assert trained_until(resolve_checkpoint(DEFAULT_MODEL, kind="tokenizer")) == {}, "its weights were written down"


@pytest.mark.parametrize("entry", list_checkpoints(), ids=lambda entry: entry.name)
def test_entries_travel_between_processes_and_nobody_changes_them(entry):
    again = pickle.loads(pickle.dumps(entry))  # noqa: S301 (what was written here)
    assert again == entry
    for mapping in (again.config, again.trained_until, again.selected_until):
        with pytest.raises(TypeError):
            mapping["all"] = "1970-01-01"


def test_a_folder_says_so_itself_for_both_its_parts(forecasting_folder):
    located = [resolve_checkpoint(forecasting_folder, kind=kind) for kind in ("model", "tokenizer")]
    assert [trained_until(one) for one in located] == [None, None]
    record(forecasting_folder / "model", trained_until="2023-05-01", selected_until={"fx": "2023-08-01"})
    assert [trained_until(one) for one in located] == 2 * [{"all": "2023-08-01", "fx": "2023-08-01"}]
    record(forecasting_folder / "tokenizer", trained_until={"fx": "2022-01-01"})
    assert trained_until(located[1]) == {"fx": "2022-01-01"}
    record(forecasting_folder / "tokenizer", trained_until={})
    assert trained_until(located[1]) == {}, "it says that it has seen none"
    record(forecasting_folder / "tokenizer", normalisation="steps", trained_until=None)
    assert trained_until(located[1]) == {"all": "2023-08-01", "fx": "2023-08-01"}, "it says nothing: the model does"
    record(forecasting_folder / "model", selected_until="2023-08-01")
    assert trained_until(located[0]) is None


def test_the_shape_of_published_weights_tells_nothing(model_folder):
    (model_folder / "config.json").write_text(json.dumps(dict(find("kronos-mini").config)))
    assert trained_until(CheckpointRef(model_folder, "fine-tuned", None, None)) is None


@pytest.mark.parametrize("value", ["yesterday", "2024-06", 2024, True, [], {"fx": None}, {"fx": "2024-02-30"}])
def test_what_is_no_date_is_refused(model_folder, value):
    record(model_folder, trained_until=value)
    with pytest.raises(CheckpointError, match=r"kronos\.json has trained_until = .* must be a date such as 2024-07-01"):
        trained_until(resolve_checkpoint(model_folder, kind="model"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | days,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(json_values)
def test_any_value_is_read_or_refused(value):
    with suppress(CheckpointError):
        found = read_cutoffs(Path("kronos.json"), {"trained_until": value}, "trained_until")
        assert all(len(day) == 10 for day in found.values())


@given(told, told, st.sampled_from(["fx", "crypto", "us_equity", "hk_equity"]))
def test_of_several_the_latest_counts_in_every_market(one, other, market):
    assert cutoff(latest(one, other), market) == max(cutoff(one, market), cutoff(other, market))
    assert latest(one, {}) == one
    assert latest() == {}


def test_a_market_that_is_not_listed_counts_as_the_latest():
    assert cutoff({"fx": "2017-07-01", "cn_ashare": "2026-01-15"}, "stocks") == "2026-01-15"
    assert cutoff({"fx": "2017-07-01", "all": "2016-01-01"}, "stocks") == "2016-01-01"
