"""Chinese sentences of the reader: one for each kind that the code can say, and no other."""

import ast
import json
import re
from pathlib import Path

import pytest

import kronos
from kronos.candles.findings import FindingCollector, RowNumbering
from kronos.formatting import Message

SOURCE = Path(kronos.__file__).parent
SENTENCES = json.loads((SOURCE / "reports/shared/reader.zh.json").read_text("utf-8"))


def said() -> dict[str, list[tuple[set[str], str]]]:
    """Names of the values and place of each sentence, by its kind."""
    found: dict[str, list[tuple[set[str], str]]] = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Message"
            if not named or path.name == "formatting.py":
                continue
            kind = node.args[0]
            assert isinstance(kind, ast.Constant), f"{path.name}, line {node.lineno}: name the kind of the sentence"
            values = {keyword.arg or "**" for keyword in node.keywords}
            found.setdefault(str(kind.value), []).append((values, f"{path.name}, line {node.lineno}"))
    return found


@pytest.mark.slow
def test_every_kind_has_a_chinese_sentence_and_none_is_left_over():
    kinds = said()
    assert len(kinds) > 100
    assert {kind: places for kind, places in kinds.items() if kind not in SENTENCES["kinds"]} == {}
    assert set(SENTENCES["kinds"]) - set(kinds) == set()


@pytest.mark.slow
def test_chinese_sentences_use_values_that_the_code_gives():
    for kind, uses in said().items():
        placeholders = set(re.findall(r"\{(\w+)\}", SENTENCES["kinds"][kind])) - {"count"}
        for values, place in uses:
            assert "**" in values or placeholders <= values, f"{kind} ({place})"


def test_a_sentence_is_its_text_and_fills_placeholders_once():
    message = Message("odd", "{count} of {name}: {'open': '…'}", name="{count}.csv")
    assert message == "{count} of {count}.csv: {'open': '…'}"
    assert message.fill(count=3) == "3 of {count}.csv: {'open': '…'}"
    assert (message.kind, message.values) == ("odd", {"name": "{count}.csv"})


def test_findings_keep_kind_and_values():
    collector = FindingCollector(RowNumbering("a.csv"))
    collector.add("blank-row", "info", Message("blank-row", "{count} blank row(s) were skipped ({where})."), [3, 5])
    (finding,) = collector.findings
    assert finding.message == "2 blank row(s) were skipped (lines 5, 7 of a.csv)."
    assert finding.message.values == {"count": 2, "where": "lines 5, 7 of a.csv"}


@pytest.mark.parametrize("name", ["pickle", "copy"])
def test_sentences_survive_a_copy(name):
    import copy
    import pickle

    message = Message("odd", "{count} of {name}", name="x", count=2)
    again = pickle.loads(pickle.dumps(message)) if name == "pickle" else copy.deepcopy(message)  # noqa: S301 (its own bytes)
    assert (again, again.kind, again.values) == (message, message.kind, message.values)
