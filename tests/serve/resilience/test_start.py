"""Its start: what it is told by flags, variables and a file .env, and why it does not start."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys

import pytest

from kronos.errors import ParameterError
from serve.launched import begun, environment, launched


def test_a_port_in_use_is_one_sentence_and_status_2(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = begun(tmp_path, "--port", port, "--source", "simulated")
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(
        rf"Error: Cannot listen on 127\.0\.0\.1 port {port}: .*; choose another with --port\.\n", done.stderr
    )


def test_beyond_loopback_without_a_key_is_one_sentence_and_status_2(tmp_path):
    done = begun(tmp_path, "--port", "0", "--source", "simulated", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert re.fullmatch(r"Error: [^\n]*needs a key[^\n]*\n", done.stderr)


def test_missing_packages_are_one_sentence_with_the_line_that_installs_them(tmp_path):
    code = (
        "import sys; sys.modules['fastapi'] = sys.modules['python_multipart'] = None\n"
        "sys.argv = ['kronos', 'serve', '--source', 'simulated']\nfrom kronos.cli import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True,
                          timeout=60, check=False)  # fmt: skip
    assert done.returncode == 2
    assert re.fullmatch(
        r"Error: kronos serve needs [^\n]* pip install \"fastapi[^\n]*\" \"python-multipart[^\n]*\"\n", done.stderr
    )


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def test_a_file_env_with_the_published_names_is_read_by_a_real_process(tmp_path):
    port = free_port()
    (tmp_path / ".env").write_text(
        f"PORT={port}\nDEVICE=cpu\nKRONOS_MODEL=kronos-nano\nKRONOS_SOURCE=simulated\nKRONOS_SERVE__ASSETS=BTC,XYZ\n"
        "COINGECKO_API_KEY=demo-key\n"
    )
    with launched(tmp_path, usual=False) as server, server.client() as client:
        assert server.address == f"http://127.0.0.1:{port}"
        server.wait_ready()
        assert [one["symbol"] for one in client.get("/api/assets").json()["assets"]] == ["BTC", "XYZ"]
        assert client.get("/api/model-status").json()["current_model"]["device"] == "cpu"
        assert "demo-key" not in server.log.read_text()


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """What is configured by a file ``.env``, variables and flags."""
    from kronos.cli.serve import settings_for

    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    for name in [
        name for name in before if name.startswith("KRONOS_") or name in ("DEVICE", "PORT", "COINGECKO_API_KEY")
    ]:
        del os.environ[name]

    def ask(*, dotenv="", variables=None, flags=None, **overrides):
        (tmp_path / ".env").write_text(dotenv)
        os.environ.update(variables or {})
        return settings_for(overrides, flags or {})

    yield ask
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize(
    ("dotenv", "variables", "flags", "port"),
    [
        ("", {}, {}, 5000), ("PORT=1", {}, {}, 1), ("PORT=1", {"PORT": "2"}, {}, 2),
        ("KRONOS_SERVE__PORT=3", {}, {}, 3),
        ("KRONOS_SERVE__PORT=3", {"PORT": "2"}, {}, 3), ("", {"KRONOS_SERVE__PORT": "4", "PORT": "2"}, {}, 4),
        ("PORT=1", {"KRONOS_SERVE__PORT": "4", "PORT": "2"}, {"port": 5}, 5), ("PORT=", {}, {}, 5000),
        ("PORT=0", {}, {}, 0),
    ],
)  # fmt: skip
def test_ports_come_from_flags_then_variables_then_the_file(configured, dotenv, variables, flags, port):
    assert configured(dotenv=dotenv, variables=variables, flags=flags).serve.port == port


def test_devices_models_and_tokenizers_come_from_flags_then_variables_then_the_file(configured):
    told = "DEVICE=cuda:3\nKRONOS_MODEL=a\nKRONOS_TOKENIZER=b\nCOINGECKO_API_KEY=c\n"
    found = configured(dotenv=told)
    assert (found.device, found.model, found.tokenizer) == ("cuda:3", "a", "b")
    assert os.environ["COINGECKO_API_KEY"] == "c"
    found = configured(dotenv=told, variables={"KRONOS_DEVICE": "mps", "KRONOS_MODEL": "d"}, model="e")
    assert (found.device, found.model, found.tokenizer) == ("mps", "e", "b")
    assert configured(dotenv=told, device="cpu").device == "cpu"


@pytest.mark.parametrize("port", ["-1", "65536", "many", "1.5", "tcp://10.0.0.1:80"])
def test_a_port_that_is_none_is_a_sentence(configured, port):
    with pytest.raises(ParameterError, match="port"):
        configured(variables={"PORT": port})


def test_a_file_env_that_is_no_text_is_a_sentence(configured, tmp_path):
    configured()
    (tmp_path / ".env").write_bytes(b"PORT=\xff\xfe")
    from kronos.cli.serve import settings_for

    with pytest.raises(ParameterError, match="UTF-8"):
        settings_for({}, {})
