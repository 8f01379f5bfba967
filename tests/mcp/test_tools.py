"""The tools in this process: what they answer, what they refuse, and how they end."""

from __future__ import annotations

import gzip
import math
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import jsonschema
import pytest
from mcp.client.client import Client
from tests.mcp.answers import Call, facts_of, text_of

import kronos
from kronos.errors import CheckpointError, ParameterError
from kronos.mcp import ServerOptions, context, forecast
from kronos.mcp.context import ServerContext
from kronos.mcp.server import make_server, sentence
from kronos.sandbox import FileLibrary, ReadLimits

SMALL = {"horizon": 4, "samples": 20}


# What they say of themselves ------------------------------------------------


def test_every_tool_is_described_read_only_and_has_both_schemas(desk: ServerContext):
    tools = anyio.run(make_server(desk).list_tools)
    assert [tool.name for tool in tools] == ["list_models", "list_candles", "forecast", "evaluate"]
    for tool in tools:
        assert tool.description
        assert "\n   " not in tool.description
        assert tool.annotations is not None
        assert (tool.annotations.read_only_hint, tool.annotations.destructive_hint) == (True, False)
        assert tool.annotations.open_world_hint is False  # nothing comes over the network
        assert tool.input_schema["additionalProperties"] is False
        assert all("description" in one for one in tool.input_schema["properties"].values())
        assert tool.output_schema is not None
        assert tool.output_schema["type"] == "object"


def test_list_models_tells_the_default_and_what_is_here(call: Call):
    result = call("list_models")
    models = {one["name"]: one for one in facts_of(result)["models"]}
    nano = models["kronos-nano"]
    assert (nano["default"], nano["here"], nano["status"], nano["calibration"]) == (True, True, "bundled", True)
    assert nano["least_history"] == 64
    assert models["kronos-large"]["status"] == "not published"
    assert "kronos-tokenizer-base" not in models
    assert "kronos-nano (used where a call names none): bundled, 2.91 M parameters" in text_of(result)


def test_a_folder_of_who_starts_the_server_is_listed_by_its_name_alone(data: Path):
    entry = kronos.zoo.find("kronos-nano")
    assert entry is not None
    assert entry.folder is not None
    made = ServerContext(ServerOptions(data, model=str(entry.folder)))
    listed = anyio.run(make_server(made).call_tool, "list_models", {})
    assert listed.structured_content["default"] == "model"
    assert listed.structured_content["models"][0]["least_history"] == 64
    assert str(entry.folder) not in str(listed)


def test_list_candles_names_what_can_be_read_and_nothing_else(call: Call):
    found = facts_of(call("list_candles"))
    names = [one["file"] for one in found["files"]]
    assert names == [
        *("coin_1h.csv", "crypto/eth_1h.parquet", "notes.txt", "packed.csv", "pickled.csv", "short_1h.csv"),
        "simulated_coin_1h.csv",
    ]
    assert (found["complete"], found["source"], found["source_simulated"]) == (True, "simulated", True)


# Forecasts ------------------------------------------------------------------


def test_a_forecast_is_what_the_library_makes_and_fits_its_schema(call: Call, desk: ServerContext, data: Path):
    made = facts_of(call("forecast", file="coin_1h.csv", seed=7, calibrated=False, **SMALL))
    candles = kronos.read_candles(data / "coin_1h.csv", symbol="coin_1h")
    same = kronos.KronosPredictor.from_pretrained().forecast(candles, 4, samples=20, seed=7)
    bands = same.range(0.95)
    assert made["state"] == "raw"
    assert [step["median"] for step in made["steps"]] == pytest.approx(same.median()["close"].tolist())
    assert [step["low_95"] for step in made["steps"]] == pytest.approx(bands["low"].tolist())
    assert made["upside_probability"]["value"] == float(same.upside_probability())
    assert made["value_at_risk_95"] == pytest.approx(same.value_at_risk())
    assert made["made"]["model_sha256"] == same.metadata.details["model"]["sha256"]
    assert (made["made"]["seed"], made["made"]["samples"], made["made"]["calibration"]) == (7, 20, None)
    assert made["last_time"] == same.start.isoformat()
    assert any("Only 20 paths" in note for note in made["notes"])
    schema = next(t.output_schema for t in anyio.run(make_server(desk).list_tools) if t.name == "forecast")
    jsonschema.validate(made, schema)


def test_the_calibration_that_ships_is_used_unless_refused(call: Call):
    result = call("forecast", file="crypto/eth_1h.parquet", **SMALL)
    made = facts_of(result)
    assert made["state"] == "calibrated"
    assert made["made"]["calibration"]
    assert "Forecast of the close, calibrated, 20 paths" in text_of(result)
    assert text_of(result).endswith("This is a statistical forecast and no investment advice.")


def test_simulated_candles_are_said_first(call: Call):
    for named in ({"file": "simulated_coin_1h.csv"}, {"symbol": "BTC/USDT"}):
        result = call("forecast", **named, **SMALL)
        assert facts_of(result)["simulated"] is True
        assert text_of(result).startswith("SIMULATED: these candles never traded")


@pytest.mark.parametrize(
    "named",
    [
        {"file": "coin_1h.csv", "as_of": "2024-03-08 00:00"},
        {"symbol": "BTC/USDT", "as_of": "2024-03-08", "interval": "4h"},
    ],
)
def test_a_replay_hides_reveals_and_scores_beside_baselines(call: Call, named: dict[str, Any]):
    result = call("forecast", **named, **SMALL)
    made = facts_of(result)
    assert made["last_time"].startswith("2024-03-08T00:00")
    assert all(step["actual"] for step in made["steps"])
    assert made["replay"]["known_steps"] == 4
    forecasters = {one["forecaster"] for one in made["replay"]["scores"]}
    assert forecasters >= {"kronos-nano, calibrated", "kronos-nano, raw", "last-value", "historical-volatility"}
    assert "Replay: 4 of 4 steps are known." in text_of(result)
    assert "mostly luck" in text_of(result)


def test_a_replay_of_which_little_is_known_says_how_much(call: Call, data: Path):
    last = kronos.read_candles(data / "coin_1h.csv").index[-3]
    made = facts_of(call("forecast", file="coin_1h.csv", as_of=str(last), **SMALL))
    assert made["replay"]["known_steps"] == 2
    assert [step["actual"] is None for step in made["steps"]] == [False, False, True, True]


# Evaluations ----------------------------------------------------------------


def test_an_evaluation_has_verdicts_baselines_and_says_how_little_it_saw(call: Call):
    result = call("evaluate", file="simulated_coin_1h.csv", horizon=2, origins=24)
    found = facts_of(result)
    assert (found["origins"], found["horizon"], found["simulated"]) == (24, 2, True)
    assert "24 origins of one series" in found["remark"]
    assert {one["forecaster"] for one in found["verdicts"]} == {"kronos-nano", "kronos-nano calibrated"}
    assert {one["about"] for one in found["verdicts"]} == {"price", "direction", "bands", "volatility"}
    table = {one["forecaster"]: one for one in found["table"]}
    assert table["historical-volatility"]["skill"] is None
    assert table["last-value"]["inside_80"] is None
    assert table["kronos-nano"]["baseline"] is False
    assert "garch-t" not in table
    assert text_of(result).startswith("SIMULATED")
    assert "Fewer than 400 forecasts" in text_of(result)


def test_an_evaluation_of_a_short_series_says_that_it_saw_fewer_origins(call: Call):
    found = facts_of(call("evaluate", file="simulated_coin_1h.csv", horizon=20, origins=10))
    assert found["origins"] == 4
    assert "4 origins of one series (not 10, because it is too short)" in found["remark"]


def test_an_evaluation_takes_the_newest_origins(call: Call):
    found = facts_of(call("evaluate", symbol="ETH/USDT", interval="1d", horizon=2, origins=2))
    few = [one["word"] for one in found["verdicts"]]
    assert found["origins"] == 2
    assert set(few) == {"too few dates"}


# What is refused ------------------------------------------------------------

WRONG = [
    ({}, "Name either a file (list_candles tells which there are) or a symbol, and not both."),
    ({"file": "coin_1h.csv", "symbol": "BTC"}, "Name either a file"),
    ({"file": "coin_1h.csv", "horizon": 0}, "horizon cannot be 0: input should be greater than or equal to 1."),
    ({"file": "coin_1h.csv", "horizon": 193}, "forecast at most 192."),
    ({"file": "coin_1h.csv", "samples": 1001}, "samples cannot be 1001: input should be less than or equal to 1000."),
    ({"file": "coin_1h.csv", "seed": -1}, "seed cannot be -1"),
    ({"file": "coin_1h.csv", "horizon": "soon"}, "horizon cannot be 'soon': input should be a valid integer"),
    ({"file": "coin_1h.csv", "horizn": 5}, "forecast has no argument 'horizn'; did you mean horizon?"),
    ({"file": "coin_1h.csv", "model": "kronos-bse"}, "No model is called 'kronos-bse'; did you mean kronos-base?"),
    ({"file": "coin_1h.csv", "model": "kronos-tokenizer-base"}, "list_models tells which there are."),
    ({"file": "coin_1h.csv", "model": "kronos-large"}, "The weights of kronos-large were never published"),
    ({"file": "coin_1h.csv", "model": "NeoQuasar/Elsewhere"}, "No model is called"),
    ({"file": "coin_1h.csv", "interval": "soon"}, "is no interval"),
    ({"file": "coin_1h.csv", "interval": "5m"}, "interval=5m contradicts coin_1h.csv"),
    ({"file": "coin_1h.csv", "as_of": "never"}, "'never' is no time"),
    ({"symbol": "BTC", "as_of": "never"}, "'never' is no time"),
    ({"file": "coin_1h.csv", "as_of": "2030-01-01"}, "hides nothing"),
    ({"file": "coin_1h.csv", "as_of": "2020-01-01"}, "leaves no history"),
    ({"file": "short_1h.csv"}, "20"),
    ({"file": "coin_2h.csv"}, "There is no data file 'coin_2h.csv'; did you mean coin_1h.csv?"),
    ({"file": "folder.csv"}, "There is no data file 'folder.csv'; list_candles tells which there are."),
    ({"file": "readme.md"}, "There is no data file 'readme.md'; list_candles tells which there are."),
    ({"file": "notes.txt"}, "notes.txt has a header but no rows"),
    ({"file": "pickled.csv"}, "is never opened"),
    ({"symbol": "BTC/USDT", "interval": "7m"}, "has no 7m candles"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_what_is_wrong_is_one_sentence(call: Call, data: Path, arguments: dict[str, Any], said: str):
    result = call("forecast", **arguments)
    assert result.is_error
    assert said in text_of(result)
    assert "\n" not in text_of(result)
    assert str(data) not in text_of(result)


OUTSIDE = [
    *("../secret.csv", "crypto/../../secret.csv", "..\\secret.csv", "./../secret.csv", "way_out/secret.csv"),
    *("link.csv", "loop.csv", ".hidden.csv", "~/secret.csv/../x.csv", "C:\\secret.csv", "\\\\host\\secret.csv"),
    *("/etc/passwd", "/etc/passwd.csv", "file:///etc/../passwd.csv", "coin_1h.csv\0.csv", "", " ", "x" * 1001),
    *("inward.csv", "sample:simulated_btc_1h", "upload:" + "0" * 64, "upload:../secret.csv"),
]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("tool", ["forecast", "evaluate"])
def test_no_name_leads_out_of_the_folder(call: Call, data: Path, tool: str, name: str):
    result = call(tool, file=name)
    assert result.is_error
    said = text_of(result)
    assert said.startswith("There is no data file '") or name == "x" * 1001
    assert said.endswith(("list_candles tells which there are.", "?")) or name == "x" * 1001
    assert str(data.parent) not in said


def test_what_exists_outside_is_refused_as_what_does_not(call: Call):
    for there, absent in (("../secret.csv", "../nobody.csv"), ("way_out/secret.csv", "way_out/nobody.csv")):
        said = [text_of(call("forecast", file=name)) for name in (there, absent)]
        assert said[0].replace("secret", "nobody") == said[1]


def test_an_absolute_name_is_refused_even_of_a_file_that_is_inside(call: Call, data: Path):
    result = call("forecast", file=str(data / "coin_1h.csv"))
    assert result.is_error
    assert str(data) not in text_of(result)


def test_a_large_file_is_refused_before_it_is_read(call: Call, desk: ServerContext, data: Path):
    desk.library = FileLibrary(data, None, ReadLimits(bytes=1 << 14))
    said = "coin_1h.csv has more than the 0.015625 MiB that one file may have; split it."
    assert text_of(call("forecast", file="coin_1h.csv")) == said


def test_an_archive_is_read_unless_it_unpacks_to_too_much(call: Call, desk: ServerContext, tmp_path: Path):
    assert facts_of(call("forecast", file="packed.csv", **SMALL))["symbol"] == "packed"
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"0" * (1 << 20)))
    desk.library = FileLibrary(tmp_path, None, ReadLimits(bytes=1 << 14))
    assert text_of(call("forecast", file="bomb.csv.gz")).startswith("bomb.csv.gz unpacks to more than")


def test_nothing_is_written_before_a_file_is_read_and_nothing_stays(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def session() -> list[bool]:
        async with Client(make_server(desk)) as client:
            await client.call_tool("list_candles")
            tempfile.tempdir = str(tmp_path / "not there yet")
            unlisted = await client.call_tool("forecast", {"file": "../secret.csv"})
            tempfile.tempdir = str(tmp_path)
            return [unlisted.is_error, (await client.call_tool("forecast", {"file": "coin_1h.csv", **SMALL})).is_error]

    before = sorted(path.name for path in data.iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there yet"))
    desk = ServerContext(ServerOptions(data))
    assert anyio.run(session) == [True, False]
    assert list(tmp_path.iterdir()) == []
    assert sorted(path.name for path in data.iterdir()) == before


def test_an_evaluation_that_would_take_long_is_refused_with_what_would_do(call: Call):
    result = call("evaluate", file="coin_1h.csv", horizon=192, origins=50)
    assert text_of(result).endswith("ask for at most 25 origins.")


def test_symbols_mean_nothing_without_a_source(data: Path):
    async def session() -> str:
        async with Client(make_server(ServerContext(ServerOptions(data)))) as client:
            return text_of(await client.call_tool("forecast", {"symbol": "BTC"}))

    assert "No source of candles is configured" in anyio.run(session)


def test_a_tool_that_there_is_not(call: Call):
    assert text_of(call("delete_all")).startswith("There is no tool 'delete_all'; there are list_models")
    assert text_of(call("list_models", verbose=True)) == "list_models has no argument 'verbose'; it takes none."


def test_a_fault_of_our_own_says_nothing_of_the_machine(call: Call, monkeypatch: pytest.MonkeyPatch):
    def fails(*_: object) -> None:
        raise RuntimeError("/home/somebody/secret")

    monkeypatch.setattr(forecast, "forecast", fails)
    result = call("forecast", file="coin_1h.csv")
    assert result.is_error
    assert text_of(result).startswith("Kronos failed at this call")


def test_sentences_lose_the_paths_of_this_machine_and_nothing_else():
    plain = "BTC/USDT at 24/7, see https://huggingface.co/NeoQuasar, 1/2."
    assert sentence(ParameterError(plain)) == plain
    assert sentence(CheckpointError("Save it in /home/me/kronos (cache).")) == "Save it in kronos (cache)."
    assert sentence(CheckpointError("'C:\\Users\\me\\x.csv' and ~/a/b.csv")) == "'x.csv' and ~b.csv"
    assert sentence(PermissionError(13, "Permission denied", "/home/me/x")).startswith(
        "The system refused to read or write (permission denied)"
    )
    assert sentence(MemoryError()).startswith("Memory ran out")


def test_a_model_that_is_not_here_is_told_with_the_command_that_fetches_it(
    call: Call, data: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(context, "cached", lambda _: None)
    said = "kronos-small is not on this machine; 'kronos models download kronos-small' fetches it."
    assert text_of(call("forecast", file="coin_1h.csv", model="kronos-small")) == said
    with pytest.raises(ParameterError, match="is not on this machine"):
        ServerContext(ServerOptions(data, model="kronos-small"))


# How they run ---------------------------------------------------------------


def test_a_call_that_is_cancelled_ends_and_the_next_one_has_its_turn(
    desk: ServerContext, monkeypatch: pytest.MonkeyPatch
):
    begun, ended = threading.Event(), threading.Event()
    real = forecast.forecast

    def endless(_: ServerContext, __: forecast.ForecastArgs, progress: Callable[[int, int], None]) -> None:
        begun.set()
        try:
            while True:
                progress(1, 2)
        finally:
            ended.set()

    async def session() -> None:
        async with Client(make_server(desk), mode="legacy") as client:
            monkeypatch.setattr(forecast, "forecast", endless)
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "forecast", {"file": "coin_1h.csv"})
                await anyio.to_thread.run_sync(begun.wait, 30)
                assert facts_of(await client.call_tool("list_models"))  # it answers meanwhile
                group.cancel_scope.cancel()
            assert await anyio.to_thread.run_sync(ended.wait, 30)
            monkeypatch.setattr(forecast, "forecast", real)
            assert facts_of(await client.call_tool("forecast", {"file": "coin_1h.csv", **SMALL}))

    anyio.run(session)


def test_one_forecast_at_a_time(desk: ServerContext, monkeypatch: pytest.MonkeyPatch):
    real, running, most = forecast.forecast, threading.Semaphore(1), []

    def counted(*arguments: Any) -> Any:
        most.append(running.acquire(blocking=False))
        try:
            return real(*arguments)
        finally:
            running.release()

    async def session() -> None:
        async with Client(make_server(desk), mode="legacy") as client, anyio.create_task_group() as group:
            for seed in range(3):
                group.start_soon(client.call_tool, "forecast", {"file": "coin_1h.csv", "seed": seed, **SMALL})

    monkeypatch.setattr(forecast, "forecast", counted)
    anyio.run(session)
    assert most == [True] * 3


def test_what_is_printed_while_serving_goes_to_stderr(
    desk: ServerContext, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def chatty(*_: object) -> None:
        sys.stdout.write("a library says hello\n")
        raise ParameterError("No.")

    monkeypatch.setattr(forecast, "forecast", chatty)

    async def session() -> None:
        async with Client(make_server(desk)) as client:
            await client.call_tool("forecast", {"file": "coin_1h.csv"})

    anyio.run(session)
    assert "hello" not in capsys.readouterr().out


def test_numbers_that_are_none_are_null(call: Call):
    found = facts_of(call("evaluate", file="coin_1h.csv", horizon=2, origins=2))
    numbers = [value for line in found["table"] for value in line.values() if isinstance(value, float)]
    assert all(math.isfinite(one) for one in numbers)
