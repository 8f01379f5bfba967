"""The configuration of the live forecaster."""

import sys

import pytest
import yaml

from kronos.errors import ParameterError
from kronos.live.config import DEFAULT_FILE, PROFILES, LiveConfig, load_config, profile_file
from kronos.live.runner import open_engine


def test_the_defaults_need_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(environment={})
    assert config.model.model_name == ("kronos-nano",)
    assert config.data.records == 384  # 360 of history, so that the volatility window of 24 is whole
    assert config.output.web_server_port == 8000
    assert config.record.database == "outputs/live-record/record.sqlite"


def test_profiles_ship(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    development, production = (load_config(profile=name, environment={}) for name in PROFILES)
    assert development.model.model_name == ("kronos-small",)
    assert (development.sampling.num_samples, development.data.history_window) == (10, 180)
    assert production.model.model_name == ("kronos-base",)
    assert (production.sampling.num_samples, production.data.history_window) == (30, 360)
    for name in PROFILES:
        text = profile_file(name).read_text("utf-8")
        assert LiveConfig.model_validate(yaml.safe_load(text))


def test_options_override_variables_override_files_override_profiles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    DEFAULT_FILE.write_text("data:\n  symbol: FILE\n  interval: 4h\n  forecast_horizon: 12\n", "utf-8")
    environment = {"KRONOS_LIVE__DATA__SYMBOL": "A,B", "KRONOS_LIVE__DATA__INTERVAL": "2h", "KRONOS_MODEL": "mine"}
    config = load_config(environment=environment, overrides={("data", "symbol"): "OPTION", ("data", "source"): None})
    assert config.data.symbol == ("OPTION",)
    assert config.data.interval == "2h"
    assert config.data.forecast_horizon == 12
    assert config.model.model_name == ("mine",)
    config = load_config(DEFAULT_FILE, profile="production", environment={})
    assert config.data.symbol == ("FILE",)
    assert config.sampling.num_samples == 30


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data:\n  symbols: BTC\n", "unknown key 'data.symbols'; did you mean 'symbol'"),
        ("sampling:\n  temperature: 5\n", "'sampling.temperature' in config.yaml cannot be '5'"),
        ("data:\n  interval: 1s\n", "at least a minute"),
        ("data:\n  symbol: [A, A]\n", "repeated"),
        ("record:\n  baselines: [magic]\n", "no baseline magic"),
        ("output:\n  publish: git\n", "git_remote"),
        ("output:\n  html_filename: ../index.html\n", "html_filename"),
        ("output:\n  folder: out\nrecord:\n  folder: out/record\n", "which is published"),
        ("output:\n  folder: out\nrecord:\n  folder: x/../out/record\n", "which is published"),
        ("output:\n  folder: out\nrecord:\n  url: out/record.sqlite\n", "record.url lies in"),
        ("output:\n  folder: out\nrecord:\n  url: sqlite:///out/record.sqlite\n", "record.url lies in"),
        ("output:\n  html_filename: style.css\n", "ends in .html"),
        ("output:\n  chart_filename: index.html\n", "ends in .png"),
        ("- a\n", "no keys and values"),
    ],
)
def test_mistakes_are_named(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    DEFAULT_FILE.write_text(text, "utf-8")
    with pytest.raises(ParameterError, match=message.replace(".", r"\.")):
        load_config(environment={})


def test_missing_files_and_unknown_profiles_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match=r"no configuration file nowhere\.yaml"):
        load_config("nowhere.yaml", environment={})
    with pytest.raises(ParameterError, match="development or production"):
        load_config(profile="staging", environment={})


def test_a_misspelt_variable_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match="symbl"):
        load_config(environment={"KRONOS_LIVE__DATA__SYMBL": "BTC"})


@pytest.mark.parametrize("reverse", [False, True])
def test_a_variable_without_a_key_is_an_error(tmp_path, monkeypatch, reverse):
    monkeypatch.chdir(tmp_path)
    variables = [("KRONOS_LIVE__DATA", "x"), ("KRONOS_LIVE__DATA__SYMBOL", "BTC")]
    with pytest.raises(ParameterError, match="a section is needed"):
        load_config(environment=dict(reversed(variables) if reverse else variables))


def test_secrets_are_not_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    secret = "postgresql://me:hunter2@host/kronos"
    config = load_config(
        environment={"KRONOS_LIVE__RECORD__URL": secret, "KRONOS_LIVE__ALERTS__WEBHOOK": "https://x/hunter2"}
    )
    assert config.record.database == secret
    assert "hunter2" not in repr(config)


def test_the_engine_is_configured(monkeypatch):
    assert open_engine(LiveConfig()).workers == 1
    config = load_config(environment={"KRONOS_LIVE__MODEL__WORKERS": "3"})
    assert (open_engine(config).name, open_engine(config).workers) == ("local", 3)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ParameterError, match="extra 'ray'"):
        open_engine(load_config(overrides={("model", "engine"): "ray"}, environment={}))
