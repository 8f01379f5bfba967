import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.zoo import DEFAULT_MODEL, count_parameters, find, list_checkpoints, nearest
from kronos.zoo.catalog import BUNDLED
from kronos.zoo.checkpoint import check_config

PUBLISHED_MILLIONS = {"kronos-mini": 4.1, "kronos-small": 24.7, "kronos-base": 102.3, "kronos-large": 499.2}


@pytest.mark.parametrize(("name", "millions"), PUBLISHED_MILLIONS.items())
def test_sizes_are_the_published_ones(name, millions):
    entry = find(name)
    assert round(entry.parameters / 1e6, 1) == millions
    assert count_parameters(entry.config, entry.kind) == entry.parameters


def test_the_pinned_weights_have_room_for_their_parameters():
    published_bytes = {"kronos-small": 98_980_656, "kronos-tokenizer-base": 15_842_368}
    for name, size in published_bytes.items():
        assert 0 < size - 4 * find(name).parameters < 20_000  # buffers and the header


def test_pairings_and_contexts():
    pairs = {entry.name: (entry.tokenizer, entry.context) for entry in list_checkpoints() if entry.kind == "model"}
    assert pairs["kronos-mini"] == ("kronos-tokenizer-2k", 2048)
    for name in ("kronos-small", "kronos-base", "kronos-large"):
        assert pairs[name] == ("kronos-tokenizer-base", 512)


@pytest.mark.parametrize("entry", list_checkpoints(), ids=lambda entry: entry.name)
def test_every_entry_is_sound(entry):
    assert check_config(entry.config, entry.kind, entry.name) == dict(entry.config)
    assert find(entry.name) is not None
    assert not (entry.published and entry.hub_id is None)
    if entry.kind == "model":
        assert find(entry.tokenizer).kind == "tokenizer"
        assert {"s1_bits", "s2_bits"} <= entry.config.keys()
        assert all(entry.config[key] == find(entry.tokenizer).config[key] for key in ("s1_bits", "s2_bits"))


@pytest.mark.parametrize("ref", ["Kronos-small", "kronos-small", "NeoQuasar/Kronos-small", " KRONOS_SMALL "])
def test_names_in_any_case(ref):
    assert find(ref).name == "kronos-small"
    assert find(ref).title == "Kronos-small"


def test_large_is_an_architecture_only():
    assert find("Kronos-large").hub_id is None
    assert not find("Kronos-large").published


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("kronos-smal", "kronos-small"),
        ("kronossmall", "kronos-small"),
        ("NeoQuasar/Kronos-bse", "kronos-base"),
        ("Kronos-Tokeniser-base", "kronos-tokenizer-base"),
    ],
)
def test_a_typo_gets_the_nearest_name(typo, meant):
    assert find(typo) is None
    assert nearest(typo) == meant


@given(st.text())
def test_any_text_is_found_or_not(text):
    entry = find(text)
    assert entry is None or entry.name in text.lower().replace("_", "-").replace(" ", "-")
    assert nearest(text) is None or find(nearest(text)) is not None


@pytest.mark.skipif(not (BUNDLED / DEFAULT_MODEL).is_dir(), reason="the bundled model is not there yet")
def test_the_bundled_model_describes_itself():
    entry = find(DEFAULT_MODEL)
    assert entry.bundled
    assert entry.context == 256
    assert (entry.folder / "model.safetensors").is_file()
    assert (find(entry.tokenizer).folder / "model.safetensors").is_file()
