"""Proxies and certificates of the environment: wrong ones are named, and no message shows a password."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kronos.errors import CheckpointError, KronosError, SourceError
from kronos.network import describe_failure, environment_problem, redact
from kronos.settings import SourceSettings

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
SECRET = "s3cret"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in (*VARIABLES, *map(str.upper, VARIABLES), *CERTIFICATES, "KRONOS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def closed_port():
    """A port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener.getsockname()[1]


def request_coingecko():
    from kronos.sources.coingecko import CoinGecko

    CoinGecko(SourceSettings(base_url="https://api.invalid"), wait=0).resolve("a-coin-of-its-own")


def request_exchange():
    pytest.importorskip("ccxt")
    from kronos.sources.exchanges import CcxtSource

    CcxtSource("kraken", SourceSettings(base_url="https://api.invalid"), wait=0).resolve("BTC/USD")


def request_hub():
    from kronos.zoo.hub import HubRequest, fetch

    fetch(HubRequest("nobody/nothing", cache_dir=Path(os.devnull) / "cache"))


REQUESTS = [request_coingecko, request_exchange, request_hub]


@pytest.mark.parametrize("client", ["httpx", "requests"])
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"])
@pytest.mark.parametrize(
    "value", ["http://h:abc", "http://", "http://h:0", "http://h:70000", "ftp://h:1", "http://h h", "http://[::1"]
)
def test_invalid_proxies_are_named_with_their_value(monkeypatch, client, name, value):
    monkeypatch.setenv(name, value)
    problem = environment_problem(client)
    assert name in problem
    assert value in problem
    monkeypatch.setenv("NO_PROXY", "*")
    assert environment_problem(client) is None
    monkeypatch.delenv("NO_PROXY")
    assert environment_problem(client, proxies=False) is None


@pytest.mark.parametrize("value", ["http://h:8080", "h:8080", "https://u:p@h:8080/", "http://[::1]:3128", "http://h"])
def test_usable_proxies_are_no_problem(monkeypatch, value):
    monkeypatch.setenv("HTTPS_PROXY", value)
    assert environment_problem("httpx") is None
    assert environment_problem("requests") is None


@pytest.mark.parametrize("client", ["httpx", "requests"])
def test_socks_proxies_without_their_package_name_the_extra(monkeypatch, client):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("ALL_PROXY", f"socks5://user:{SECRET}@127.0.0.1:1080")
    problem = environment_problem(client)
    assert "ALL_PROXY 'socks5://127.0.0.1:1080'" in problem
    assert "kronos-forecast[socks]" in problem


@pytest.mark.parametrize(
    ("client", "name"),
    [
        ("httpx", "SSL_CERT_FILE"),
        ("httpx", "SSL_CERT_DIR"),
        ("requests", "REQUESTS_CA_BUNDLE"),
        ("requests", "CURL_CA_BUNDLE"),
    ],
)
def test_wrong_certificates_are_named(monkeypatch, tmp_path, client, name):
    monkeypatch.setenv(name, str(tmp_path / "missing.pem"))
    assert environment_problem(client).startswith(f"{name} is ")
    (tmp_path / "empty.pem").write_text("no certificate")
    monkeypatch.setenv(name, str(tmp_path / "empty.pem"))
    assert environment_problem(client).startswith(f"{name} is ")
    monkeypatch.setenv(name, "")
    assert environment_problem(client) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.one_of(
        st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=20).map(
            lambda text: f"{text}{SECRET}@{text}"
        ),
        st.from_regex(
            r"(http|socks5|ftp)://[a-z@:/]{0,5}s3cret[@:/a-z]{0,3}@[a-z.]{0,5}(:[0-9a-z]{0,6})?", fullmatch=True
        ),
    )
)
def test_no_message_has_a_password(monkeypatch, value):
    monkeypatch.setenv("HTTPS_PROXY", value)
    assert SECRET not in redact(value)
    for client in ("httpx", "requests"):
        assert SECRET not in (environment_problem(client) or "")
        failure = describe_failure(ConnectionRefusedError(111, "Connection refused"), "https://host", client)
        assert SECRET not in str(failure)


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("value", [f"http://u:{SECRET}@h:abc", f"socks5://u:{SECRET}@127.0.0.1:9"])
def test_every_client_names_an_unusable_proxy(monkeypatch, request_, value):
    real = __import__("importlib.util").util.find_spec
    monkeypatch.setattr(
        "kronos.network.importlib.util.find_spec", lambda name, *rest: None if "socks" in name else real(name, *rest)
    )
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(KronosError, match="HTTPS_PROXY") as caught:
        request_()
    assert SECRET not in str(caught.value)
    assert isinstance(caught.value, SourceError | CheckpointError)


@pytest.mark.parametrize("request_", REQUESTS)
def test_every_client_names_a_dead_proxy(monkeypatch, request_, closed_port):
    monkeypatch.setenv("HTTPS_PROXY", f"http://u:{SECRET}@127.0.0.1:{closed_port}")
    with pytest.raises(KronosError, match=rf"HTTPS_PROXY, http://127\.0\.0\.1:{closed_port}") as caught:
        request_()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("request_", REQUESTS)
def test_every_client_names_missing_certificates(monkeypatch, request_, tmp_path):
    for name in CERTIFICATES:
        monkeypatch.setenv(name, str(tmp_path / "missing.pem"))
    with pytest.raises(KronosError, match=r"(SSL_CERT|REQUESTS_CA).* is .*missing\.pem"):
        request_()


@pytest.mark.parametrize("request_", REQUESTS)
def test_names_without_address_are_not_retried_for_long(monkeypatch, request_):
    asked = []

    def fail(host, *rest, **options):
        asked.append(host)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(KronosError, match="cannot be resolved"):
        request_()
    assert 1 <= len(asked) <= 4
