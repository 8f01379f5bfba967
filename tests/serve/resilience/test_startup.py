"""Startup: flags, environment variables, .env files, and errors."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys

import pytest

from kronos.errors import ParameterError
from kronos.serve.server import bind
from serve.processes import environment, run_command, start_process


@pytest.mark.slow
def test_a_port_in_use_is_an_error(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run_command(tmp_path, "--port", port, "--source", "simulated")
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(rf"Error: Cannot listen on 127\.0\.0\.1 port {port}: [^\n]*--port[^\n]*\n", done.stderr)


def test_a_port_is_shared_on_no_system(monkeypatch):
    """On Windows, the option that lets a restarted server have its port again lets two servers have it at once."""
    for platform, reuse in (("win32", False), ("linux", True), ("darwin", True)):
        monkeypatch.setattr(sys, "platform", platform)
        with bind("127.0.0.1", 0) as listener:
            assert bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)) == reuse


@pytest.mark.slow
def test_a_public_host_without_a_key_is_an_error(tmp_path):
    done = run_command(tmp_path, "--port", "0", "--source", "simulated", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert re.fullmatch(r"Error: [^\n]*needs a key[^\n]*\n", done.stderr)


def test_missing_packages_are_an_error_with_the_install_command(tmp_path):
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


@pytest.mark.slow
def test_a_dotenv_file_with_published_names_is_read(tmp_path):
    port = free_port()
    (tmp_path / ".env").write_text(
        f"PORT={port}\nDEVICE=cpu\nKRONOS_MODEL=kronos-nano\nKRONOS_SOURCE=simulated\nKRONOS_SERVE__ASSETS=BTC,XYZ\n"
        "COINGECKO_API_KEY=demo-key\n"
    )
    with start_process(tmp_path, defaults=False) as server, server.client() as client:
        assert server.address == f"http://127.0.0.1:{port}"
        server.wait_ready()
        assert [item["symbol"] for item in client.get("/api/assets").json()["assets"]] == ["BTC", "XYZ"]
        assert client.get("/api/model-status").json()["current_model"]["device"] == "cpu"
        assert "demo-key" not in server.log.read_text()


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """Resolve the settings from a ``.env`` file, variables and flags."""
    from kronos.cli.serve import settings_for

    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    for name in [
        name for name in before if name.startswith("KRONOS_") or name in ("DEVICE", "PORT", "COINGECKO_API_KEY")
    ]:
        del os.environ[name]

    def request_(*, dotenv="", variables=None, flags=None, **overrides):
        (tmp_path / ".env").write_text(dotenv)
        os.environ.update(variables or {})
        return settings_for(overrides, flags or {})

    yield request_
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
def test_the_port_comes_from_flags_then_variables_then_dotenv(configured, dotenv, variables, flags, port):
    assert configured(dotenv=dotenv, variables=variables, flags=flags).serve.port == port


def test_device_and_model_come_from_flags_then_variables_then_dotenv(configured):
    document = "DEVICE=cuda:3\nKRONOS_MODEL=a\nKRONOS_TOKENIZER=b\nCOINGECKO_API_KEY=c\n"
    found = configured(dotenv=document)
    assert (found.device, found.model, found.tokenizer) == ("cuda:3", "a", "b")
    assert os.environ["COINGECKO_API_KEY"] == "c"
    found = configured(dotenv=document, variables={"KRONOS_DEVICE": "mps", "KRONOS_MODEL": "d"}, model="e")
    assert (found.device, found.model, found.tokenizer) == ("mps", "e", "b")
    assert configured(dotenv=document, device="cpu").device == "cpu"


@pytest.mark.parametrize("port", ["-1", "65536", "many", "1.5", "tcp://10.0.0.1:80"])
def test_an_invalid_port_is_an_error(configured, port):
    with pytest.raises(ParameterError, match="port"):
        configured(variables={"PORT": port})


def test_a_binary_dotenv_file_is_an_error(configured, tmp_path):
    configured()
    (tmp_path / ".env").write_bytes(b"PORT=\xff\xfe")
    from kronos.cli.serve import settings_for

    with pytest.raises(ParameterError, match="UTF-8"):
        settings_for({}, {})
