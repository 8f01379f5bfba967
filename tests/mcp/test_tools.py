"""The tools, called in this process: results, errors, cancellation."""

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
from tests.mcp.conftest import walk
from tests.mcp.results import Call, content_of, text_of

import kronos
from kronos.errors import CheckpointError, ParameterError
from kronos.mcp import ServerOptions, context, forecast
from kronos.mcp.context import ServerContext
from kronos.mcp.responses import protocol_words
from kronos.mcp.server import create_server, error_message
from kronos.sandbox import FileLibrary, ReadLimits

SMALL = {"horizon": 4, "samples": 20}


# Descriptions and listings --------------------------------------------------


def test_every_tool_has_a_description_annotations_and_schemas(server_context: ServerContext):
    tools = anyio.run(create_server(server_context).list_tools)
    assert [tool.name for tool in tools] == ["list_models", "list_candles", "forecast", "evaluate"]
    for tool in tools:
        assert tool.description
        assert "\n   " not in tool.description
        assert tool.annotations is not None
        assert (tool.annotations.read_only_hint, tool.annotations.destructive_hint) == (True, False)
        assert tool.annotations.open_world_hint is False  # the source is local
        assert all("description" in item for item in tool.input_schema["properties"].values())
        assert tool.output_schema is not None
        assert tool.output_schema["type"] == "object"


def test_list_models_marks_the_default_and_available_models(call: Call):
    result = call("list_models")
    models = {item["name"]: item for item in content_of(result)["models"]}
    nano = models["kronos-nano"]
    assert (nano["default"], nano["here"], nano["status"], nano["calibration"]) == (True, True, "bundled", True)
    assert nano["least_history"] == 8
    assert models["kronos-large"]["status"] == "not published"
    assert "kronos-tokenizer-base" not in models
    assert "kronos-nano (default): bundled, 2.81 M parameters" in text_of(result)


def test_a_model_folder_is_listed_by_its_name(data: Path):
    entry = kronos.zoo.find_entry("kronos-nano")
    assert entry is not None
    assert entry.folder is not None
    result = ServerContext(ServerOptions(data, model=str(entry.folder)))
    listed = anyio.run(create_server(result).call_tool, "list_models", {})
    assert listed.structured_content["default"] == "model"
    assert listed.structured_content["models"][0]["least_history"] == 8
    assert str(entry.folder) not in str(listed)


def test_list_candles_lists_readable_files_only(call: Call):
    found = content_of(call("list_candles"))
    names = [item["file"] for item in found["files"]]
    assert names == [
        *("coin_1h.csv", "crypto/eth_1h.parquet", "notes.txt", "packed.csv", "pickled.csv", "short_1h.csv"),
        "simulated_coin_1h.csv",
    ]
    assert (found["complete"], found["source"], found["source_simulated"]) == (True, "simulated", True)


def test_a_long_list_comes_in_pages(tmp_path: Path):
    names = sorted(f"{folder}coin_{i:03}.csv" for i in range(230) for folder in ("", "deep/"))
    (tmp_path / "deep").mkdir()
    for name in names:
        (tmp_path / name).write_text("")

    async def session() -> None:
        async with Client(create_server(ServerContext(ServerOptions(tmp_path)))) as client:
            offset, found, texts = 0, [], []
            while True:
                result = await client.call_tool("list_candles", {"offset": offset})
                page = content_of(result)
                assert (page["offset"], page["total"], page["left"]) == (offset, 460, max(0, 260 - offset))
                texts.append(text_of(result))
                found += [item["file"] for item in page["files"]]
                offset += len(page["files"])
                if page["complete"]:
                    break
            assert found == names
            assert "These are files 1 to 200 of 460; 260 are left: call list_candles with offset 200." in texts[0]
            assert "These are files 401 to 460 of 460; none are left." in texts[-1]
            beyond = await client.call_tool("list_candles", {"offset": 1000})
            assert (content_of(beyond)["files"], content_of(beyond)["left"]) == ([], 0)
            assert "no files after offset 1,000; the data folder has 460" in text_of(beyond)
            unknown = await client.call_tool("forecast", {"file": "deep/coin_22.csv"})
            assert "did you mean deep/coin_22" in text_of(unknown)

    anyio.run(session)


# What clients send ----------------------------------------------------------

# Keywords that function declarations of Gemini and OpenAI know; see the reference of Gemini's `Schema`.
PLAIN_KEYWORDS = {
    *("type", "format", "description", "enum", "items", "properties", "required", "default", "pattern"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"),
}


def unsupported(schema: Any, place: str) -> list[str]:
    """Places in a schema of arguments that function declarations refuse."""
    if not isinstance(schema, dict) or not isinstance(schema.get("type"), str):
        return [f"{place}: no plain type"]
    wrong = [f"{place}: {keyword}" for keyword in schema.keys() - PLAIN_KEYWORDS]
    wrong += [f"{place}: default null"] * (schema.get("default", ...) is None)
    if schema["type"] == "array":
        wrong += unsupported(schema.get("items"), f"{place}.items")
    for name, item in schema.get("properties", {}).items():
        wrong += unsupported(item, f"{place}.{name}")
    return wrong


def test_schemas_of_arguments_use_plain_types(server_context: ServerContext):
    for tool in anyio.run(create_server(server_context).list_tools):
        assert unsupported(tool.input_schema, tool.name) == []
        assert tool.input_schema["type"] == "object"
        assert "required" not in tool.input_schema
        for name, item in tool.input_schema["properties"].items():
            jsonschema.validate(item.get("default", 1 if item["type"] == "integer" else True), {})
            if "default" in item:
                jsonschema.validate(item["default"], item)
            assert not name.startswith("_")


def test_the_check_of_schemas_notices_what_clients_refuse():
    nullable = {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    schema = {"type": "object", "properties": {"file": nullable}, "additionalProperties": False}
    assert unsupported(schema, "tool") == ["tool: additionalProperties", "tool.file: no plain type"]
    assert unsupported({"type": "array", "items": {}}, "list") == ["list.items: no plain type"]


@pytest.mark.parametrize("empty", ["", None])
def test_empty_arguments_are_absent(call: Call, empty: str | None):
    names = ("symbol", "interval", "timezone", "model", "as_of", "calibrated", "samples", "seed")
    result = content_of(call("forecast", file="coin_1h.csv", horizon=2, **dict.fromkeys(names, empty)))
    assert (result["made"]["samples"], result["made"]["seed"], result["state"]) == (100, 0, "calibrated")
    assert result["ignored"] == []


@pytest.mark.parametrize("empty", ["", " ", None, "null"])
def test_empty_arguments_of_every_type_are_absent(call: Call, empty: str | None):
    assert content_of(call("list_candles", offset=empty))["offset"] == 0
    message = text_of(call("evaluate", file=empty, symbol=empty, horizon=empty, origins=empty))
    assert message == "Give either file (call list_candles for the available files) or symbol, not both."


INJECTED = ["toolCallId", "tool_call_id", "sessionId", "session_id", "chatInput", "action", "tool", "_meta"]


def test_arguments_that_clients_inject_are_ignored(call: Call):
    plain = call("forecast", file="coin_1h.csv", seed=1, **SMALL)
    result = call("forecast", file="coin_1h.csv", seed=1, **SMALL, **dict.fromkeys(INJECTED, "x"))
    assert content_of(result)["steps"] == content_of(plain)["steps"]
    assert content_of(result)["ignored"] == INJECTED
    assert "did you mean" not in text_of(result)
    assert text_of(result).splitlines()[-1].startswith("Ignored: toolCallId, ")
    assert content_of(call("list_models", verbose=True))["ignored"] == ["verbose"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [("horizn", "horizon"), ("asOf", "as_of"), ("Interval", "interval"), ("time_zone", "timezone")],
)
def test_misspelt_arguments_are_named_in_the_answer(call: Call, name: str, meant: str):
    assert text_of(call("forecast", **{name: "5"})).endswith(f"Ignored: {name} (did you mean {meant}?).")
    listed = call("list_candles", **{name: "5"})
    assert content_of(listed)["ignored"] == [name]
    assert text_of(listed).endswith(f"Ignored: {name}.")


def test_a_timezone_places_the_times_of_a_file(call: Call):
    given = {"file": "coin_1h.csv", "timezone": "America/New_York", "as_of": "2024-03-08T05:00:00Z"}
    result = content_of(call("forecast", **given, **SMALL))
    assert (result["timezone"], result["last_time"]) == ("America/New_York", "2024-03-08T00:00:00-05:00")


# Forecasts ------------------------------------------------------------------


def test_a_forecast_equals_the_python_api_and_fits_its_schema(call: Call, server_context: ServerContext, data: Path):
    result = content_of(call("forecast", file="coin_1h.csv", seed=7, calibrated=False, **SMALL))
    candles = kronos.read_candles(data / "coin_1h.csv", symbol="coin_1h")
    same = kronos.KronosPredictor.from_pretrained().forecast(candles, 4, samples=20, seed=7, calibration=False)
    bands = same.range(0.95)
    assert result["state"] == "raw"
    assert [step["median"] for step in result["steps"]] == pytest.approx(same.median()["close"].tolist())
    assert [step["low_95"] for step in result["steps"]] == pytest.approx(bands["low"].tolist())
    assert result["upside_probability"]["value"] == float(same.upside_probability())
    assert result["value_at_risk_95"] == pytest.approx(same.value_at_risk())
    assert result["made"]["model_sha256"] == same.metadata.details["model"]["sha256"]
    assert (result["made"]["seed"], result["made"]["samples"], result["made"]["calibration"]) == (7, 20, None)
    assert result["last_time"] == same.start.isoformat()
    assert any("Only 20 paths" in note for note in result["notes"])
    schema = next(t.output_schema for t in anyio.run(create_server(server_context).list_tools) if t.name == "forecast")
    jsonschema.validate(result, schema)


def test_a_bundled_calibration_is_used_by_default(call: Call):
    result = call("forecast", file="crypto/eth_1h.parquet", **SMALL)
    forecast_result = content_of(result)
    assert forecast_result["state"] == "calibrated"
    assert forecast_result["made"]["calibration"]
    assert "Forecast of the close, calibrated, 20 paths" in text_of(result)
    assert text_of(result).endswith("This is a statistical forecast, not investment advice.")


def test_simulated_candles_are_named_first(call: Call):
    for named in ({"file": "simulated_coin_1h.csv"}, {"symbol": "BTC/USDT"}):
        result = call("forecast", **named, **SMALL)
        assert content_of(result)["simulated"] is True
        assert text_of(result).startswith("SIMULATED")


@pytest.mark.parametrize(
    "named",
    [
        {"file": "coin_1h.csv", "as_of": "2024-03-08 00:00"},
        {"symbol": "BTC/USDT", "as_of": "2024-03-08", "interval": "4h"},
    ],
)
def test_a_replay_hides_candles_and_scores_against_baselines(call: Call, named: dict[str, Any]):
    result = call("forecast", **named, **SMALL)
    forecast_result = content_of(result)
    assert forecast_result["last_time"].startswith("2024-03-08T00:00")
    assert all(step["actual"] for step in forecast_result["steps"])
    assert forecast_result["replay"]["known_steps"] == 4
    forecasters = {item["forecaster"] for item in forecast_result["replay"]["scores"]}
    assert forecasters >= {"kronos-nano, calibrated", "kronos-nano, raw", "last-value", "historical-volatility"}
    assert "Replay: 4 of 4 steps are known." in text_of(result)
    assert "mostly luck" in text_of(result)


def test_a_replay_counts_its_known_steps(call: Call, data: Path):
    last = kronos.read_candles(data / "coin_1h.csv").index[-3]
    result = content_of(call("forecast", file="coin_1h.csv", as_of=str(last), **SMALL))
    assert result["replay"]["known_steps"] == 2
    assert [step["actual"] is None for step in result["steps"]] == [False, False, True, True]


# Evaluations ----------------------------------------------------------------


@pytest.mark.slow
def test_an_evaluation_has_verdicts_baselines_and_a_remark(call: Call):
    result = call("evaluate", file="simulated_coin_1h.csv", horizon=2, origins=8)
    found = content_of(result)
    assert (found["origins"], found["horizon"], found["simulated"]) == (8, 2, True)
    assert "8 origins of one series" in found["remark"]
    assert {item["forecaster"] for item in found["verdicts"]} == {"kronos-nano", "kronos-nano calibrated"}
    assert {item["about"] for item in found["verdicts"]} == {"price", "direction", "bands", "volatility"}
    table = {item["forecaster"]: item for item in found["table"]}
    assert table["historical-volatility"]["skill"] is None
    assert table["last-value"]["inside_80"] is None
    assert table["kronos-nano"]["baseline"] is False
    assert "garch-t" not in table
    assert text_of(result).startswith("SIMULATED")
    assert "Fewer than 400 forecasts" in text_of(result)


@pytest.mark.slow
def test_an_evaluation_of_a_short_series_has_fewer_origins(call: Call):
    found = content_of(call("evaluate", file="simulated_coin_1h.csv", horizon=20, origins=10))
    assert found["origins"] == 4
    assert "4 origins of one series (not 10, because it is too short)" in found["remark"]


def test_an_evaluation_uses_the_newest_origins(call: Call):
    found = content_of(call("evaluate", symbol="ETH/USDT", interval="1d", horizon=2, origins=2))
    few = [item["word"] for item in found["verdicts"]]
    assert found["origins"] == 2
    assert set(few) == {"too few dates"}


# Errors ---------------------------------------------------------------------

WRONG = [
    ({}, "Give either file (call list_candles for the available files) or symbol, not both."),
    ({"file": "coin_1h.csv", "symbol": "BTC"}, "not both"),
    ({"file": "coin_1h.csv", "horizon": 0}, "Invalid horizon 0: input should be greater than or equal to 1."),
    ({"file": "coin_1h.csv", "horizon": 249}, "at most 248."),
    ({"file": "coin_1h.csv", "samples": 1001}, "Invalid samples 1001: input should be less than or equal to 1000."),
    ({"file": "coin_1h.csv", "seed": -1}, "Invalid seed -1"),
    ({"file": "coin_1h.csv", "horizon": "soon"}, "Invalid horizon 'soon': input should be a valid integer"),
    ({"file": "coin_1h.csv", "horizn": 5, "horizon": 0}, "or equal to 1. Ignored: horizn (did you mean horizon?)."),
    ({"fle": "coin_1h.csv"}, "not both. Ignored: fle (did you mean file?)."),
    ({"file": "coin_1h.csv", "timezone": "Mars/Olympus"}, "Mars/Olympus"),
    ({"file": "coin_1h.csv", "columns": ["Schlusskurs"]}, "Invalid columns 'Schlusskurs': write them like close="),
    ({"file": "coin_1h.csv", "columns": ["close=Last"]}, "given in columns as close"),
    ({"symbol": "BTC/USDT", "columns": ["close=Last"], "calendar": "XNYS"}, "calendar and columns can be given for"),
    ({"symbol": "BTC/USDT", "timezone": "Europe/London"}, "timezone can be given for files only"),
    ({"file": "coin_1h.csv", "as_of": "2024-03-08T00:00:00Z"}, "has a timezone, but the candles of coin_1h have none"),
    ({"file": "coin_1h.csv", "model": "kronos-bse"}, "Unknown model 'kronos-bse'; did you mean kronos-base?"),
    ({"file": "coin_1h.csv", "model": "kronos-tokenizer-base"}, "list_models"),
    ({"file": "coin_1h.csv", "model": "kronos-large"}, "The weights of kronos-large were never published"),
    ({"file": "coin_1h.csv", "model": "NeoQuasar/Elsewhere"}, "Unknown model"),
    ({"file": "coin_1h.csv", "interval": "soon"}, "Invalid interval"),
    ({"file": "coin_1h.csv", "interval": "5m"}, "interval 5m contradicts coin_1h.csv"),
    ({"file": "coin_1h.csv", "as_of": "never"}, "Invalid time 'never'"),
    ({"symbol": "BTC", "as_of": "never"}, "Invalid time 'never'"),
    ({"file": "coin_1h.csv", "as_of": "2030-01-01"}, "no candles after as_of"),
    ({"file": "coin_1h.csv", "as_of": "2020-01-01"}, "no candles up to as_of"),
    ({"file": "short_1h.csv"}, "6 candles"),
    ({"file": "coin_2h.csv"}, "There is no data file 'coin_2h.csv'; did you mean coin_1h.csv?"),
    ({"file": "folder.csv"}, "There is no data file 'folder.csv'; call list_candles"),
    ({"file": "readme.md"}, "There is no data file 'readme.md'; call list_candles"),
    ({"file": "notes.txt"}, "notes.txt has a header but no rows"),
    ({"file": "pickled.csv"}, "is never opened"),
    ({"symbol": "BTC/USDT", "interval": "7m"}, "has no 7m candles"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_invalid_arguments_are_one_line(call: Call, data: Path, arguments: dict[str, Any], message: str):
    result = call("forecast", **arguments)
    assert result.is_error
    assert message in text_of(result)
    assert "\n" not in text_of(result)
    assert str(data) not in text_of(result)


OUTSIDE = [
    *("../secret.csv", "crypto/../../secret.csv", "..\\secret.csv", "./../secret.csv", "way_out/secret.csv"),
    *("link.csv", "loop.csv", ".hidden.csv", "~/secret.csv/../x.csv", "C:\\secret.csv", "\\\\host\\secret.csv"),
    *("/etc/passwd", "/etc/passwd.csv", "file:///etc/../passwd.csv", "coin_1h.csv\0.csv", ".", "x" * 1001),
    *("inward.csv", "sample:simulated_btc_1h", "upload:" + "0" * 64, "upload:../secret.csv"),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("tool", ["forecast", "evaluate"])
def test_names_cannot_leave_the_folder(call: Call, data: Path, tool: str, name: str):
    result = call(tool, file=name)
    assert result.is_error
    message = text_of(result)
    assert message.startswith("There is no data file '") or name == "x" * 1001
    assert message.endswith(("list_candles for the available files.", "?")) or name == "x" * 1001
    assert str(data.parent) not in message


def test_errors_do_not_reveal_whether_a_file_exists(call: Call):
    for there, absent in (("../secret.csv", "../nobody.csv"), ("way_out/secret.csv", "way_out/nobody.csv")):
        message = [text_of(call("forecast", file=name)) for name in (there, absent)]
        assert message[0].replace("secret", "nobody") == message[1]


def test_absolute_paths_are_rejected(call: Call, data: Path):
    result = call("forecast", file=str(data / "coin_1h.csv"))
    assert result.is_error
    assert str(data) not in text_of(result)


def test_a_large_file_is_rejected_before_it_is_read(call: Call, server_context: ServerContext, data: Path):
    server_context.library = FileLibrary(data, None, ReadLimits(bytes=1 << 14))
    result = call("forecast", file="coin_1h.csv")
    assert result.is_error
    assert text_of(result).startswith("coin_1h.csv ")
    assert "0.015625 MiB" in text_of(result)


@pytest.mark.slow
def test_an_archive_is_limited_after_decompression(call: Call, server_context: ServerContext, tmp_path: Path):
    assert content_of(call("forecast", file="packed.csv", **SMALL))["symbol"] == "packed"
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"0" * (1 << 20)))
    server_context.library = FileLibrary(tmp_path, None, ReadLimits(bytes=1 << 14))
    assert text_of(call("forecast", file="bomb.csv.gz")).startswith("bomb.csv.gz unpacks to more than")


def test_temporary_files_are_created_late_and_removed(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def session() -> list[bool]:
        async with Client(create_server(server_context)) as client:
            await client.call_tool("list_candles")
            tempfile.tempdir = str(tmp_path / "not there yet")
            unlisted = await client.call_tool("forecast", {"file": "../secret.csv"})
            tempfile.tempdir = str(tmp_path)
            return [unlisted.is_error, (await client.call_tool("forecast", {"file": "coin_1h.csv", **SMALL})).is_error]

    before = sorted(path.name for path in data.iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there yet"))
    server_context = ServerContext(ServerOptions(data))
    assert anyio.run(session) == [True, False]
    assert list(tmp_path.iterdir()) == []
    assert sorted(path.name for path in data.iterdir()) == before


def test_a_long_evaluation_is_rejected_with_the_limit(call: Call):
    result = call("evaluate", file="coin_1h.csv", horizon=192, origins=50)
    assert text_of(result).endswith("choose at most 25 origins.")


def test_symbols_need_a_source(data: Path):
    async def session() -> str:
        async with Client(create_server(ServerContext(ServerOptions(data)))) as client:
            return text_of(await client.call_tool("forecast", {"symbol": "BTC"}))

    assert "No source of candles is configured" in anyio.run(session)


def test_unknown_tools_are_rejected(call: Call):
    assert text_of(call("delete_all")).startswith("Unknown tool 'delete_all'; choose list_models")


def test_a_bug_reveals_no_details(call: Call, monkeypatch: pytest.MonkeyPatch):
    def fails(*_: object) -> None:
        raise RuntimeError("/home/somebody/secret")

    monkeypatch.setattr(forecast, "forecast", fails)
    result = call("forecast", file="coin_1h.csv")
    assert result.is_error
    assert text_of(result).startswith("Internal error of Kronos")


def test_messages_name_the_arguments_of_the_tools():
    words = {
        "read them with timezone=.": "read them with timezone.",
        "pass interval=, or a series with one": "pass interval, or a series with one",
        "interval=5m contradicts": "interval 5m contradicts",
        "give decimal='.' or decimal=','.": "give decimal '.' or decimal ','.",
        "for example --timezone Asia/Tokyo (timezone= in Python).": "for example timezone Asia/Tokyo.",
        "pick one with --decimal (decimal=',' in Python)": "pick one with decimal",
        "or '' for none: thousands=''.": "or '' for none: thousands none.",
        "start the server with --source okx": "start the server with --source okx",
        "https://x.org/?timezones=1&symbol=BTC": "https://x.org/?timezones=1&symbol=BTC",
    }
    assert {text: protocol_words(text) for text in words} == words
    assert error_message(ParameterError("Pass calendar=.")) == "Pass calendar."


@pytest.mark.slow
def test_files_are_read_with_what_the_caller_knows(data: Path):
    table = walk(150).rename(columns={"close": "Schluss"})
    table.to_csv(data.parent / "odd.csv", index=False)
    context_ = ServerContext(ServerOptions(data))
    context_.library = FileLibrary(data.parent, None)

    async def session() -> tuple[str, list[str]]:
        async with Client(create_server(context_)) as client:
            refused = await client.call_tool("forecast", {"file": "odd.csv", **SMALL})
            given = {"file": "odd.csv", "columns": ["close=Schluss"], "calendar": "XNYS", "timezone": "UTC", **SMALL}
            found = content_of(await client.call_tool("forecast", given))
            return text_of(refused), [found["made"]["calendar"], found["timezone"]]

    refusal, read = anyio.run(session)
    assert "close" in refusal
    assert "columns=" not in refusal
    assert read == ["XNYS", "UTC"]


def test_notations_are_what_the_caller_says(server_context: ServerContext, tmp_path: Path):
    table = walk(150)
    texts = table.rename(columns={name: f"Kurs{i}" for i, name in enumerate(("open", "high", "low", "close"), start=1)})
    texts = texts.assign(Datum=table["timestamps"].dt.strftime("%d.%m.%Y %H:%M"))[
        ["Datum", *map("Kurs{}".format, "1234")]
    ]
    texts.to_csv(tmp_path / "kurse.csv", sep=";", decimal=",", index=False)
    server_context.library = FileLibrary(tmp_path, None)
    columns = [f"{name}=Kurs{i}" for i, name in enumerate(("open", "high", "low", "close"), start=1)]
    given = {"columns": [*columns, "timestamps=Datum"], "decimal": ",", "thousands": "none", "header": 1}

    async def session() -> dict[str, Any]:
        async with Client(create_server(server_context)) as client:
            arguments = {"file": "kurse.csv", **given, "date_format": "%d.%m.%Y %H:%M", **SMALL}
            return content_of(await client.call_tool("forecast", arguments))

    result = anyio.run(session)
    assert result["last_close"] == pytest.approx(table["close"].iloc[-1], rel=1e-7)
    assert result["last_time"] == table["timestamps"].iloc[-1].isoformat()


def test_error_messages_have_no_paths():
    plain = "BTC/USDT at 24/7, see https://huggingface.co/NeoQuasar, 1/2."
    assert error_message(ParameterError(plain)) == plain
    assert error_message(CheckpointError("Save it in /home/me/kronos (cache).")) == "Save it in kronos (cache)."
    assert error_message(CheckpointError("'C:\\Users\\me\\x.csv' and ~/a/b.csv")) == "'x.csv' and ~b.csv"
    assert error_message(PermissionError(13, "Permission denied", "/home/me/x")).startswith(
        "Cannot read or write a file (permission denied)"
    )
    assert error_message(MemoryError()).startswith("Out of memory")


def test_a_missing_model_is_an_error_with_the_download_command(call: Call, data: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(context, "find_cached", lambda _: None)
    message = "kronos-small is not on this machine; the user can run 'kronos models download kronos-small'."
    assert text_of(call("forecast", file="coin_1h.csv", model="kronos-small")) == message
    with pytest.raises(ParameterError, match="is not on this machine"):
        ServerContext(ServerOptions(data, model="kronos-small"))


# Concurrency ----------------------------------------------------------------


def test_a_cancelled_call_ends_and_frees_the_server(server_context: ServerContext, monkeypatch: pytest.MonkeyPatch):
    entered, ended = threading.Event(), threading.Event()
    real = forecast.forecast

    def endless(_: ServerContext, __: forecast.ForecastToolArgs, progress: Callable[[int, int], None]) -> None:
        entered.set()
        try:
            while True:
                progress(1, 2)
        finally:
            ended.set()

    async def session() -> None:
        async with Client(create_server(server_context), mode="legacy") as client:
            monkeypatch.setattr(forecast, "forecast", endless)
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "forecast", {"file": "coin_1h.csv"})
                await anyio.to_thread.run_sync(entered.wait, 30)
                assert content_of(await client.call_tool("list_models"))  # not blocked by the forecast
                group.cancel_scope.cancel()
            assert await anyio.to_thread.run_sync(ended.wait, 30)
            monkeypatch.setattr(forecast, "forecast", real)
            assert content_of(await client.call_tool("forecast", {"file": "coin_1h.csv", **SMALL}))

    anyio.run(session)


def test_forecasts_run_one_at_a_time(server_context: ServerContext, monkeypatch: pytest.MonkeyPatch):
    real, running, acquired = forecast.forecast, threading.Semaphore(1), []

    def counted(*arguments: Any) -> Any:
        acquired.append(running.acquire(blocking=False))
        try:
            return real(*arguments)
        finally:
            running.release()

    async def session() -> None:
        async with Client(create_server(server_context), mode="legacy") as client, anyio.create_task_group() as group:
            for seed in range(3):
                group.start_soon(client.call_tool, "forecast", {"file": "coin_1h.csv", "seed": seed, **SMALL})

    monkeypatch.setattr(forecast, "forecast", counted)
    anyio.run(session)
    assert acquired == [True] * 3


def test_output_of_libraries_goes_to_stderr(
    server_context: ServerContext, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def chatty(*_: object) -> None:
        sys.stdout.write("a library says hello\n")
        raise ParameterError("No.")

    monkeypatch.setattr(forecast, "forecast", chatty)

    async def session() -> None:
        async with Client(create_server(server_context)) as client:
            await client.call_tool("forecast", {"file": "coin_1h.csv"})

    anyio.run(session)
    assert "hello" not in capsys.readouterr().out


@pytest.mark.slow
def test_non_finite_numbers_are_null(call: Call):
    found = content_of(call("evaluate", file="coin_1h.csv", horizon=2, origins=2))
    numbers = [value for line in found["table"] for value in line.values() if isinstance(value, float)]
    assert all(math.isfinite(item) for item in numbers)
