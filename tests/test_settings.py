import pytest

from kronos.errors import ParameterError
from kronos.settings import Settings, get_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"KRONOS_{name.upper()}", raising=False)


def test_defaults():
    settings = get_settings()
    assert (settings.model, settings.device, settings.cache_dir, settings.threads) == (None, None, None, None)
    assert (settings.offline, settings.precision) == (False, "exact")


def test_precedence_of_defaults_environment_and_arguments(monkeypatch):
    monkeypatch.setenv("KRONOS_MODEL", "kronos-small")
    monkeypatch.setenv("KRONOS_THREADS", "2")
    monkeypatch.setenv("KRONOS_OFFLINE", "true")
    settings = get_settings({"model": "kronos-base", "threads": None})
    assert (settings.model, settings.threads, settings.offline) == ("kronos-base", 2, True)


def test_settings_are_not_cached(monkeypatch):
    get_settings()
    monkeypatch.setenv("KRONOS_DEVICE", "cuda:1")
    assert get_settings().device == "cuda:1"


def test_empty_variables_are_unset(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.setenv(f"KRONOS_{name.upper()}", "")
    assert get_settings() == Settings()


def test_home_folders_are_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("KRONOS_CACHE_DIR", "~/weights")
    assert get_settings().cache_dir == tmp_path / "weights"


@pytest.mark.parametrize(
    ("name", "value"), [("THREADS", "0"), ("THREADS", "many"), ("OFFLINE", "perhaps"), ("PRECISION", "half")]
)
def test_invalid_values_raise(monkeypatch, name, value):
    monkeypatch.setenv(f"KRONOS_{name}", value)
    with pytest.raises(
        ParameterError, match=rf"Invalid value '{value}' for the setting KRONOS_{name}: .*\.$"
    ) as caught:
        get_settings()
    assert "\n" not in str(caught.value)


def test_unknown_names_raise_with_the_closest_name():
    with pytest.raises(ParameterError, match="did you mean 'precision'"):
        get_settings({"precison": "fast"})
    with pytest.raises(ParameterError, match="settings are model, device"):
        get_settings({"zzz": 1})


def test_invalid_arguments_are_named_as_given():
    with pytest.raises(ParameterError, match="Invalid value 0 for the setting threads"):
        get_settings({"threads": 0})


def test_nested_settings(monkeypatch):
    monkeypatch.setenv("KRONOS_SOURCES__OKX__BASE_URL", "http://127.0.0.1:8080")
    monkeypatch.setenv("KRONOS_SOURCES__OKX__TIMEOUT", "3")
    okx = get_settings().sources["okx"]
    assert (okx.base_url, okx.timeout, okx.proxy) == ("http://127.0.0.1:8080", 3.0, None)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("TIMEOUT", "-1", "'-1' for the setting KRONOS_SOURCES__OKX__TIMEOUT: input should be greater than 0"),
        ("BASEURL", "http://x", "There is no setting KRONOS_SOURCES__OKX__BASEURL; did you mean 'base_url'"),
    ],
)
def test_nested_settings_are_named_in_full(monkeypatch, name, value, sentence):
    monkeypatch.setenv(f"KRONOS_SOURCES__OKX__{name}", value)
    with pytest.raises(ParameterError, match=sentence):
        get_settings()


def test_api_keys_are_hidden(monkeypatch):
    monkeypatch.setenv("KRONOS_SOURCES__OKX__API_KEY", "very-secret")
    assert "very-secret" not in repr(get_settings())
