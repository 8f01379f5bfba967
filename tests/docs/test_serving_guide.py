"""The serving guide and the README's section: what they show runs against a server, and their table is the code's."""

import json
import re
import shlex
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from docs.running import ROOT, blocks
from kronos.cli import app
from kronos.settings import ServeSettings
from serve.servers import run_server, settings_in

GUIDE = (ROOT / "docs" / "serving.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text("utf-8")
SHOWN = "http://127.0.0.1:5000"


def lines(text):
    return [line.split("  #")[0].strip() for block in blocks(text, "sh") for line in block.strip().splitlines()]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with run_server(settings_in(tmp_path_factory.mktemp("guide"))) as live:
        live.wait_ready()
        yield live


@pytest.mark.slow
@pytest.mark.parametrize("text", [GUIDE, README], ids=["guide", "readme"])
def test_the_python_lines_print_a_prediction(server, text):
    program = next(block for block in blocks(text, "python") if "urllib" in block)
    assert len([line for line in program.splitlines() if line]) <= 5
    done = subprocess.run(
        [sys.executable, "-c", program.replace(SHOWN, server.address)], capture_output=True, text=True, check=True
    )
    price, trend, confidence = done.stdout.split()
    assert float(price) > 0
    assert trend in ("bullish", "bearish")
    assert 0 < float(confidence) < 1


@pytest.mark.slow
def test_the_curl_lines_are_answered(server, tmp_path, shared_sample):
    shown = [line for line in lines(GUIDE) if line.startswith("curl") and SHOWN in line]
    assert len(shown) >= 7
    (tmp_path / "btc_1h.csv").write_bytes(shared_sample)
    with server.client() as client:
        for line in shown:
            words = shlex.split(line)[1:]
            path = next(word for word in words if word.startswith(SHOWN)).removeprefix(SHOWN)
            if "-d" in words:
                answer = client.post(path, json=json.loads(words[words.index("-d") + 1]))
            elif "-F" in words:
                name = words[words.index("-F") + 1].removeprefix("file=@")
                answer = client.post(path, files={"file": (name, (tmp_path / name).read_bytes())})
            else:
                answer = client.get(path)
            assert answer.status_code in (200, 201), (line, answer.text)


@pytest.fixture
def shared_sample():
    from importlib import resources

    return (resources.files("kronos.samples") / "simulated_btc_1h.csv").read_bytes()


def test_the_answer_it_shows_has_the_fields_of_a_real_one(server):
    shown = json.loads(next(block for block in blocks(GUIDE, "json") if "currentPrice" in block))
    with server.client() as client:
        real = client.get("/api/predict", params={"symbol": "BTC"}).json()
    assert shown.keys() == real.keys()
    assert shown["prediction"].keys() == real["prediction"].keys()
    assert shown["prediction"]["predictions"][0].keys() == real["prediction"]["predictions"][0].keys()


@pytest.mark.slow
def test_commands_that_are_shown_are_understood():
    """Every option of ``kronos serve`` and ``kronos mcp``, wherever a page shows one."""
    shown = [line for text in (GUIDE, README, CHINESE) for line in lines(text)]
    shown += [
        command for text in (GUIDE, README, CHINESE) for command in re.findall(r"`(kronos (?:serve|mcp)[^`]*)`", text)
    ]
    served_ = [line[line.index("kronos ") :] for line in shown if re.search(r"kronos (serve|mcp)\b", line)]
    assert len(served_) >= 5
    for line in served_:
        command = line.split()[1]
        told = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "300"}).output
        for option in re.findall(r"--[a-z-]+", line.split("#")[0]):
            assert option in told, line


def test_the_table_of_settings_is_the_codes():
    rows = re.findall(r"^\| `KRONOS_SERVE__(\w+)` \| `?([^|`]*)`? \| (.*) \|$", GUIDE, re.MULTILINE)
    told = {name.lower(): (default.strip(), text) for name, default, text in rows}
    assert told.keys() == ServeSettings.model_fields.keys()
    described = (ServeSettings.__doc__ or "").split("Attributes:")[1]
    said = dict(re.findall(r"^        (\w+): (.*(?:\n            .*)*)", described, re.MULTILINE))
    for name, field in ServeSettings.model_fields.items():
        default = "" if name == "api_keys" or field.default in (None, "") else str(field.default)
        assert told[name] == (default, " ".join(said[name].split()).replace("``", "`")), name


def test_the_environment_example_sets_what_exists(monkeypatch, tmp_path):
    from kronos.cli.serve import settings_for

    example = (ROOT / ".env.example").read_text("utf-8")
    names = re.findall(r"^([A-Z_]+)=", example, re.MULTILINE)
    for name in {"KRONOS_MODEL", "KRONOS_TOKENIZER", "DEVICE", "PORT", "COINGECKO_API_KEY"}:
        assert name in names
    for name in names:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, "")  # so that what the file sets is taken back afterwards
        monkeypatch.delenv(name)
    (tmp_path / ".env").write_text(example, "utf-8")
    monkeypatch.chdir(tmp_path)
    settings = settings_for({}, {})
    assert (settings.source, settings.serve.port, settings.serve.host) == ("binance", 5000, "127.0.0.1")
