"""The catalog of named checkpoints and their training cutoffs."""

import json
import pickle
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.errors import CheckpointError
from kronos.zoo import (
    DEFAULT_MODEL,
    CheckpointRef,
    closest_name,
    count_parameters,
    find_entry,
    list_checkpoints,
    resolve_checkpoint,
    trained_until,
)
from kronos.zoo.catalog import BUNDLED, cutoff_for, latest_cutoffs, read_cutoffs
from kronos.zoo.checkpoint import check_config

bundled = pytest.mark.skipif(not (BUNDLED / DEFAULT_MODEL).is_dir(), reason="the bundled model is not installed")
days = st.dates().map(lambda day: day.isoformat())
cutoffs = st.dictionaries(st.sampled_from(["all", "fx", "crypto", "us_equity"]), days, min_size=1)


def write_record(folder, **content):
    (folder / "kronos.json").write_text(json.dumps(content))


def test_cutoffs_of_published_weights():
    for entry in list_checkpoints():
        if not entry.bundled:
            assert dict(entry.trained_until) == ({"all": "2024-07-01"} if entry.published else {})
            assert not entry.selected_until
            checkpoints = CheckpointRef(Path("nowhere"), entry.name, entry, None, entry.kind)
            assert trained_until(checkpoints) == ({"all": "2024-07-01"} if entry.published else None)


@bundled
def test_cutoffs_of_the_bundled_model():
    entry = find_entry(DEFAULT_MODEL)
    assert (entry.trained_until["crypto"], entry.selected_until["crypto"]) == ("2022-12-31", "2023-04-30")
    seen = trained_until(resolve_checkpoint(DEFAULT_MODEL, kind="model"))
    assert seen == dict(entry.selected_until)
    assert (seen["us_equity 1d"], seen["cn_ashare"]) == ("2019-12-31", "2026-01-14")
    assert trained_until(resolve_checkpoint(DEFAULT_MODEL, kind="tokenizer")) == {}, "its weights were not trained"


@pytest.mark.parametrize("entry", list_checkpoints(), ids=lambda entry: entry.name)
def test_entries_are_pickled_and_read_only(entry):
    again = pickle.loads(pickle.dumps(entry))  # noqa: S301 (pickled in this test)
    assert again == entry
    for mapping in (again.config, again.trained_until, again.selected_until):
        with pytest.raises(TypeError):
            mapping["all"] = "1970-01-01"


def test_records_apply_to_both_parts_of_a_folder(forecasting_folder):
    checkpoints = [resolve_checkpoint(forecasting_folder, kind=kind) for kind in ("model", "tokenizer")]
    assert [trained_until(first) for first in checkpoints] == [None, None]
    write_record(forecasting_folder / "model", trained_until="2023-05-01", selected_until={"fx": "2023-08-01"})
    assert [trained_until(first) for first in checkpoints] == 2 * [{"all": "2023-08-01", "fx": "2023-08-01"}]
    write_record(forecasting_folder / "tokenizer", trained_until={"fx": "2022-01-01"})
    assert trained_until(checkpoints[1]) == {"fx": "2022-01-01"}
    write_record(forecasting_folder / "tokenizer", trained_until={})
    assert trained_until(checkpoints[1]) == {}, "no candles used"
    write_record(forecasting_folder / "tokenizer", normalisation="steps", trained_until=None)
    assert trained_until(checkpoints[1]) == {"all": "2023-08-01", "fx": "2023-08-01"}, "the record of the model applies"
    write_record(forecasting_folder / "model", selected_until="2023-08-01")
    assert trained_until(checkpoints[0]) is None


def test_the_shape_of_published_weights_implies_no_cutoffs(model_folder):
    (model_folder / "config.json").write_text(json.dumps(dict(find_entry("kronos-mini").config)))
    assert trained_until(CheckpointRef(model_folder, "fine-tuned", None, None)) is None


@pytest.mark.parametrize("value", ["yesterday", "2024-06", 2024, True, [], {"fx": None}, {"fx": "2024-02-30"}])
def test_invalid_cutoffs_raise(model_folder, value):
    write_record(model_folder, trained_until=value)
    with pytest.raises(CheckpointError, match=r"kronos\.json: invalid trained_until .* date such as 2024-07-01"):
        trained_until(resolve_checkpoint(model_folder, kind="model"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | days,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(json_values)
def test_any_value_is_valid_or_raises(value):
    with suppress(CheckpointError):
        found = read_cutoffs(Path("kronos.json"), {"trained_until": value}, "trained_until")
        assert all(len(day) == 10 for day in found.values())


@given(cutoffs, cutoffs, st.sampled_from(["fx", "crypto", "us_equity", "hk_equity"]))
def test_latest_cutoffs_are_the_maximum_of_each_market(first, second, market):
    assert cutoff_for(latest_cutoffs(first, second), market) == max(
        cutoff_for(first, market), cutoff_for(second, market)
    )
    assert latest_cutoffs(first, {}) == first
    assert latest_cutoffs() == {}


def test_unlisted_markets_have_the_latest_cutoff():
    assert cutoff_for({"fx": "2017-07-01", "cn_ashare": "2026-01-15"}, "stocks") == "2026-01-15"
    assert cutoff_for({"fx": "2017-07-01", "all": "2016-01-01"}, "stocks") == "2016-01-01"


def test_cutoffs_can_differ_by_interval():
    found = {"fx": "2017-07-01", "fx 1d": "2015-01-01"}
    assert [cutoff_for(found, group) for group in ("fx", "fx 1d", "fx 5m", "crypto 1d")] == [
        "2017-07-01", "2015-01-01", "2017-07-01", "2017-07-01"
    ]  # fmt: skip
    both = latest_cutoffs(found, {"fx": "2016-01-01", "all": "2012-01-01"})
    assert both == {"all": "2017-07-01", "fx": "2017-07-01", "fx 1d": "2016-01-01"}


PUBLISHED_MILLIONS = {"kronos-mini": 4.1, "kronos-small": 24.7, "kronos-base": 102.3, "kronos-large": 499.2}


@pytest.mark.parametrize(("name", "millions"), PUBLISHED_MILLIONS.items())
def test_parameter_counts_are_the_published_ones(name, millions):
    entry = find_entry(name)
    assert round(entry.parameters / 1e6, 1) == millions
    assert count_parameters(entry.config, entry.kind) == entry.parameters


def test_pinned_files_have_the_size_of_their_parameters():
    published_bytes = {"kronos-small": 98_980_656, "kronos-tokenizer-base": 15_842_368}
    for name, size in published_bytes.items():
        assert 0 < size - 4 * find_entry(name).parameters < 20_000  # buffers and the header


def test_pairings_and_contexts():
    pairs = {entry.name: (entry.tokenizer, entry.context) for entry in list_checkpoints() if entry.kind == "model"}
    assert pairs["kronos-mini"] == ("kronos-tokenizer-2k", 2048)
    for name in ("kronos-small", "kronos-base", "kronos-large"):
        assert pairs[name] == ("kronos-tokenizer-base", 512)


@pytest.mark.parametrize("entry", list_checkpoints(), ids=lambda entry: entry.name)
def test_entries_are_consistent(entry):
    assert check_config(entry.config, entry.kind, entry.name) == dict(entry.config)
    assert find_entry(entry.name) is not None
    assert not (entry.published and entry.hub_id is None)
    if entry.kind == "model":
        assert find_entry(entry.tokenizer).kind == "tokenizer"
        assert {"s1_bits", "s2_bits"} <= entry.config.keys()
        assert all(entry.config[key] == find_entry(entry.tokenizer).config[key] for key in ("s1_bits", "s2_bits"))


@pytest.mark.parametrize("ref", ["Kronos-small", "kronos-small", "NeoQuasar/Kronos-small", " KRONOS_SMALL "])
def test_names_in_any_case(ref):
    assert find_entry(ref).name == "kronos-small"
    assert find_entry(ref).title == "Kronos-small"


def test_large_has_no_weights():
    assert find_entry("Kronos-large").hub_id is None
    assert not find_entry("Kronos-large").published


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("kronos-smal", "kronos-small"),
        ("kronossmall", "kronos-small"),
        ("NeoQuasar/Kronos-bse", "kronos-base"),
        ("Kronos-Tokeniser-base", "kronos-tokenizer-base"),
    ],
)
def test_typos_have_a_closest_name(typo, meant):
    assert find_entry(typo) is None
    assert closest_name(typo) == meant


@given(st.text())
def test_any_text_can_be_looked_up(text):
    entry = find_entry(text)
    assert entry is None or entry.name in text.lower().replace("_", "-").replace(" ", "-")
    assert closest_name(text) is None or find_entry(closest_name(text)) is not None


@bundled
def test_the_entry_of_the_bundled_model():
    entry = find_entry(DEFAULT_MODEL)
    assert entry.bundled
    assert entry.context == 256
    assert (entry.folder / "model.safetensors").is_file()
    assert (find_entry(entry.tokenizer).folder / "model.safetensors").is_file()
