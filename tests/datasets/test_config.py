"""Configurations: loading by name or path, validation, and overriding by options."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.datasets import DatasetConfig, list_configs, load_config
from kronos.errors import ParameterError
from kronos.intervals import Interval, split_timeframes

MINIMAL = {"model_name": "Mine", "target_symbols": ["BTC-USDT"]}


def config(**changes):
    return DatasetConfig.check(MINIMAL | changes, "mine.yaml")


def pairs(one):
    return [(symbol, str(interval)) for symbol, interval in one.series]


def test_bundled_configurations_are_as_published():
    names = {entry.name for entry in list_configs() if entry.shipped}
    assert names == {"model_a_4h", "model_b_1d"}
    a, b = load_config("model_a_4h"), load_config("Model_B_1D")
    assert (a.timeframes, a.windows.lookback, a.windows.predict, a.records_per_timeframe) == (("4H",), 90, 10, 2000)
    assert (a.training.batch_size, a.training.accumulation_steps, a.training.epochs) == (32, 2, 30)
    assert (a.training.tokenizer_learning_rate, a.training.model_learning_rate) == (1.5e-4, 3e-5)
    assert (b.timeframes, b.windows.lookback, b.windows.predict, b.records_per_timeframe) == (("1D",), 120, 15, 3000)
    assert (b.training.batch_size, b.training.accumulation_steps, b.training.epochs) == (16, 4, 50)
    assert (b.training.tokenizer_learning_rate, b.training.model_learning_rate) == (1e-4, 2e-5)
    assert a.folder() == Path("data/kronos_datasets/model_a_4h")
    assert (a.split.train, a.split.validation, a.split.test, a.embargo) == (0.7, 0.15, 0.15, 10)


@pytest.mark.parametrize(
    ("symbols", "timeframe", "series"),
    [
        (["BTC-USDT-SWAP_4H", "ETH_1D"], "15m", [("BTC-USDT-SWAP", "4h"), ("ETH", "1d")]),
        (["BTC-USDT-SWAP_4H", "ETH"], None, [("BTC-USDT-SWAP", "4h"), ("ETH", "4h")]),
        (["BTC-USDT-SWAP_4H", "ETH"], "15m", [("BTC-USDT-SWAP", "4h"), ("ETH", "15m")]),
        (["BTC", "ETH"], "15m", [("BTC", "15m"), ("ETH", "15m")]),
        (["BTC"], None, [("BTC", "1h"), ("BTC", "4h"), ("BTC", "1d")]),
        (["BTC_4H", "BTC_4h", "BTC_240m"], None, [("BTC", "4h")]),
        (["A_LONG_NAME", "X_1M"], None, [("A_LONG_NAME", "1mo"), ("X", "1mo")]),
    ],
)
def test_timeframes_of_symbols(symbols, timeframe, series):
    assert pairs(config(target_symbols=symbols, timeframe=timeframe)) == series


def test_options_override_the_file():
    changed = config(target_symbols=["BTC_4H", "ETH"]).changed(timeframes=["1d", "15m"], records=77, source="binance")
    assert pairs(changed) == [("BTC", "1d"), ("BTC", "15m"), ("ETH", "1d"), ("ETH", "15m")]
    assert (changed.records_per_timeframe, changed.source, changed.timeframes) == (77, "binance", ("1D", "15m"))
    same = config(target_symbols=["BTC_4H"])
    assert same.changed() == same


def test_base_folder_overrides_the_configured_one():
    own = config(dataset_path="elsewhere/mine")
    assert own.folder() == Path("elsewhere/mine")
    assert own.folder(Path("base")) == Path("base/mine")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"record_per_timeframe": 5},
            "mine.yaml has the unknown key 'record_per_timeframe'; did you mean 'records_per",
        ),
        ({"windows": {"lookbak": 5}}, "the unknown key 'windows.lookbak'; did you mean 'lookback'"),
        ({"zzz": 1}, "unknown key 'zzz'; choose model_name"),
        ({"target_symbols": []}, "'target_symbols' in mine.yaml is invalid: at least one is needed."),
        ({"records_per_timeframe": 1}, "'records_per_timeframe' in mine.yaml cannot be '1'"),
        ({"timeframe": "4X"}, "invalid interval '4X'"),
        ({"model_name": "../../etc"}, "'model_name' in mine.yaml cannot be"),
        ({"model_name": ".."}, "'model_name' in mine.yaml cannot be"),
        ({"split": {"train": 0.9, "validation": 0.15, "test": 0.15}}, "must add up to 1, not 1.2"),
        ({"split": {"dates": "files"}}, "'split.dates' in mine.yaml cannot be 'files'"),
        ({"training": {"epochs": 0}}, "'training.epochs' in mine.yaml cannot be '0'"),
        ({"quality": "best"}, "'quality' in mine.yaml cannot be 'best'"),
        ({"timeframe": "15M"}, "'15M' means 15 months"),
        (
            {"target_symbols": ["BTC_15M"]},
            "'target_symbols.0' in mine.yaml cannot be 'BTC_15M': '15M' means 15 months",
        ),
        ({"timeframe": "99999999D"}, "'99999999D' is longer than a year"),
        ({"timeframe": "9" * 5_000 + "H"}, "invalid interval"),
        ({"source": " "}, "'source' in mine.yaml cannot be '': name a source, such as okx"),
        ({"dataset_path": ""}, "'dataset_path' in mine.yaml cannot be '': name a sub-folder"),
        ({"dataset_path": "a\0b"}, "'dataset_path' in mine.yaml cannot be 'a b': name a sub-folder"),
        ({"windows": None}, "'windows' in mine.yaml is empty"),
        ({"windows": 5}, "'windows' in mine.yaml cannot be '5': a section is needed"),
        ({"target_symbols": "BTC"}, "'target_symbols' in mine.yaml cannot be 'BTC': a list is needed"),
        ({"model_name": ["a"]}, "'model_name' in mine.yaml is invalid: text is needed"),
    ],
)
def test_invalid_values_are_named(changes, words):
    with pytest.raises(ParameterError) as caught:
        config(**changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_keys_are_named():
    with pytest.raises(ParameterError, match=r"mine\.yaml lacks 'target_symbols'; add it"):
        DatasetConfig.check({"model_name": "X"}, "mine.yaml")


def test_misspelt_key_is_reported_before_the_missing_one():
    with pytest.raises(ParameterError, match="unknown key 'target_symbol'; did you mean 'target_symbols'"):
        DatasetConfig.check({"model_name": "X", "target_symbol": ["BTC_4H"]}, "mine.yaml")


def test_plain_values_are_text(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "model_name: 2024\ndescription: 2024-13-45\ntarget_symbols: [000001, NO, 600519_1D]\n"
        "records_per_timeframe: 500\nsplit: {embargo: null}\ndataset_path:\n"
    )
    made = load_config(tmp_path / "mine.yaml")
    assert pairs(made) == [("000001", "1d"), ("NO", "1d"), ("600519", "1d")]
    assert (made.model_name, made.description, made.records_per_timeframe) == ("2024", "2024-13-45", 500)
    assert (made.split.embargo, made.dataset_path) == (None, None)


def test_invalid_user_file_is_not_replaced_by_a_bundled_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/model_a_4h.yaml").write_text("target_symbols: [")
    Path("configs/mine.yaml").write_text("a: [")
    for name in ("model_a_4h", "mine"):
        with pytest.raises(ParameterError, match=f"{name}.yaml is not valid YAML"):
            load_config(name)
    assert [(entry.name, entry.shipped) for entry in list_configs()] == [("model_a_4h", False), ("model_b_1d", True)]


def test_unknown_home_folder_is_kept():
    assert config(dataset_path="~nobody-of-that-name/x").folder() == Path("~nobody-of-that-name/x")
    assert config(dataset_path="~/x").folder() == Path.home() / "x"


def test_load_by_path_and_by_name(tmp_path, monkeypatch):
    text = "model_name: Mine\ntarget_symbols: [ETH_1D]\ntraining: {model_learning_rate: 1e-4}\n"
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mine.yaml").write_text(text)
    (tmp_path / "configs" / "of_another_tool.yaml").write_text("a: 1\n")
    monkeypatch.chdir(tmp_path)
    assert [entry.name for entry in list_configs()] == ["mine", "model_a_4h", "model_b_1d"]
    for name in ("mine", "MINE.yaml", tmp_path / "configs" / "mine.yaml"):
        assert load_config(name).training.model_learning_rate == 1e-4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model_a_4", "no configuration 'model_a_4'; did you mean model_a_4h?"),
        ("qqq", "choose model_a_4h, model_b_1d, or pass a path"),
        ("nowhere/mine.yaml", "There is no configuration file nowhere/mine.yaml"),
        ("~nobody-of-that-name/mine.yaml", "There is no configuration file ~nobody-of-that-name/mine.yaml"),
        ("x" * 300, "no configuration 'xxx"),
    ],
)
def test_unknown_names(name, words):
    with pytest.raises(ParameterError) as caught:
        load_config(name)
    assert words in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"model_name: [", "not valid YAML"),
        (b"a: 1\nb: 2\na: 3\n", "not valid YAML: the key 'a' is repeated"),
        (b"- a\n- b\n", "has no keys and values"),
        (b"", "has no keys and values"),
        (b"a: \xff\xfe", "not UTF-8"),
        (b"!!python/object/apply:os.system ['echo hi']", "not valid YAML"),
        (b"? [a, b]\n: 1\n", "unhashable key in line 1"),
        (b"1: 2\n", "has the unknown key '1'"),
        (b"a: !!int x\n", "not valid YAML"),
        (b"a: " + b"[" * 3_000, "is nested too deeply"),
    ],
)
def test_broken_files(tmp_path, content, words):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ParameterError) as caught:
        load_config(path)
    assert words in str(caught.value)
    assert "bad.yaml" in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_raise_a_parameter_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("yaml") / "any.yaml"
    path.write_bytes(data)
    with pytest.raises(ParameterError):
        load_config(path)


KEYS = st.sampled_from([*DatasetConfig.model_fields, "nonsense", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_any_values_are_valid_or_raise_a_parameter_error(values):
    try:
        made = DatasetConfig.check(MINIMAL | values, "mine.yaml")
    except ParameterError:
        return
    assert made.series
    assert DatasetConfig.check(made.model_dump(mode="json"), "again") == made


@given(st.lists(st.sampled_from(["1m", "15m", "1H", "4h", "1D", "1W", "1MO"]), min_size=1, max_size=4))
def test_timeframes_round_trip(texts):
    made = config(target_symbols=["X"]).changed(timeframes=texts)
    again = config(target_symbols=["X"]).changed(timeframes=split_timeframes(", ".join(made.timeframes)))
    assert made.series == again.series
    assert {interval for _, interval in made.series} == {Interval.parse(text).normalized() for text in texts}
