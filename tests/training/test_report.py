"""A training's page tells what it was trained on, how it went and whether it helped; one page tells of several."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kronos.errors import DataError, ParameterError
from kronos.metrics import Estimate
from kronos.training.callbacks import JsonLines, TrainingHistory
from kronos.training.comparison import RULE, ComparisonRow, Measure, TrainingComparison
from kronos.training.report.page import write_overview, write_report, write_reports
from kronos.training.report.summary import load_run_summary, save_curves
from kronos.training.run_folder import StageRecord, result_folder, save_record, stage_folder

HOSTILE = "<script>alert('x')</script>"
DATA = {
    "data": f"candles {HOSTILE}",
    "simulated": False,
    "candles": 1500,
    "parts": {
        part: {"candles": 500, "kept": 490, "stretches": 2, "first": f"2024-0{n}-01T00:00:00", "last": "2024-09-01"}
        for n, part in enumerate(("train", "val", "test"), start=1)
    },
    "groups": {f"crypto {HOSTILE}": {"series": 3, "train": 900, "val": 200, "test": 210}},
    "files": [{"file": "a.csv", "sha256": "abc"}],
    "unreadable": [{"path": "b.csv", "problem": f"It has no close {HOSTILE}."}],
}
MEASURED = {
    "tokenizer": {
        "full": 0.05, "coarse": 0.09, "close_error_in_steps": 0.4, "codes_used_s1": 0.5, "codes_used_s2": 0.4,
        "perplexity_s1": 300.0, "perplexity_s2": 200.0,
    },
    "model": {"s1": 2.5, "s2": 2.0},
}  # fmt: skip


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value, low, high, 0.95, "bootstrap", 100, 60.0, 80, 1.5)


def comparison(change: Estimate, start: str | None = "kronos-nano") -> TrainingComparison:
    groups = {
        f"crypto {HOSTILE}": {"start": 4.2, "tuned": 4.1, "n": 60},
        "fx 1h": {"start": 4.0, "tuned": 4.3, "n": 40},
    }
    measures = (
        Measure("nll", 4.2, 4.1, change, groups),
        Measure("crps", 0.6, 0.61, estimate(0.01, -0.02, 0.04), {"crypto 1h": {"start": 0.6, "tuned": 0.61, "n": 90}}),
    )
    skill, coverage = estimate(0.02, -0.1, 0.1), estimate(0.8, 0.7, 0.9)
    rivals = (
        ComparisonRow("mine", "tuned", 90, {"1": 0.5, "10": 0.6}, skill, coverage),
        ComparisonRow("kronos-nano", "start", 90, {"1": 0.51, "10": 0.61}, skill, coverage),
        ComparisonRow("historical-volatility", "reference", 90, {"1": 0.52, "10": 0.62}, None, coverage),
    )
    return TrainingComparison(
        measures=measures if start else (),
        rivals=rivals,
        against_baselines=("price: no evidence of an edge",),
        notes=("A note.",),
        warnings=(f"A warning {HOSTILE}.",),
        names=(start, "mine"),
        tested={
            "first": "2024-07-01", "last": "2024-09-01", "origins": 90, "windows": 100, "instruments": 3,
            "groups": ["crypto 1h"], "lookback": 90, "horizon": 10, "paths": 30,
        },
        made={"plan": "digest", "seed": 1, "versions": {}, "created": "now"},
    )  # fmt: skip


def make_run(
    folder: Path, *, stages=("tokenizer", "model"), done=True, found: TrainingComparison | None = None
) -> Path:
    """A run's folder as training leaves it."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"model_name: mine\ndescription: hourly & {HOSTILE}\n", "utf-8")
    for stage in stages:
        monitor = JsonLines(stage_folder(folder, stage) / "log.jsonl")
        plan = {"stage": stage, "epochs": 2, "steps_per_epoch": 20, "steps": 40, "step": 0, "parameters": 1234567}
        monitor.on_start(plan)
        told = MEASURED[stage]
        for epoch in range(3):
            for step in range(20 * epoch - 15, 20 * epoch + 1, 5) if epoch else ():
                monitor.on_step(step, {"loss": 4.0, "learning_rate": 1e-4, "samples_per_second": 50.0, **told})
            held_out = {f"validation_{name}": value / (epoch + 1) for name, value in told.items()}
            monitor.on_epoch_end(epoch, {"step": 20 * epoch, "validation_loss": 4 - epoch / 10, **held_out})
        if done:
            result_folder(folder, stage).mkdir()
            for name in ("config.json", "model.safetensors"):
                (result_folder(folder, stage) / name).write_text("{}")
            save_record(folder, StageRecord(stage, 2, 40, 2, 3.8, "finished", 75.0, "kronos-nano", DATA))
    if found is not None:
        found.save(folder / "comparison.json")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "mine", found=comparison(estimate(-0.1, -0.15, -0.05)))


@pytest.fixture(scope="module")
def page(run) -> str:
    return write_reports([run]).read_text("utf-8")


class Words(HTMLParser):
    """All text, rows of tables, and tags, checked for balance."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.ids, self.values, self.words, self.rows = [], [], [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.note(tag, attrs)
        if tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.note(tag, attrs)

    def note(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.values += list(attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def words(page) -> Words:
    return Words(page)


def test_it_is_one_well_formed_file_that_loads_nothing(page, words):
    assert not {"script", "link", "img", "iframe", "object"} & set(words.tags)
    assert not [name for name, _ in words.values if name in ("src", "style", "srcset") or name.startswith("on")]
    assert [value for name, value in words.values if name == "href" and not value.startswith("#")] == []
    assert len(words.ids) == len(set(words.ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)) <= set(words.ids)


def test_what_users_named_is_escaped(page, words):
    assert "<script" not in page
    text = "".join(words.words)
    for told in (f"hourly & {HOSTILE}", f"A warning {HOSTILE}.", f"It has no close {HOSTILE}.", f"crypto {HOSTILE}"):
        assert told in text


def test_the_verdict_comes_first_with_its_rule_and_figures(page, words):
    assert re.findall(r'<span class="answer (\w+)">([^<]+)</span>', page)[:3] == [
        ("neutral", "It helped in part"),
        ("good", "Better"),
        ("neutral", "No evidence"),
    ]
    text = "\n".join(words.words)
    assert RULE in text
    assert "NLL 4.200 → 4.100 nats a candle, change −0.100, −0.150 to −0.050" in text
    assert ["CRPS", "σ√h", "0.600", "0.610", "+0.010−0.020 to +0.040", "No evidence"] in words.rows


def test_everybody_stands_in_one_table(words):
    tuned = ["mineafter", "0.500 (best)", "0.600 (best)", "2.0 %−10.0 to 10.0", "80.0 %70.0 to 90.0"]
    assert tuned in words.rows
    assert ["historical-volatilityreference", "0.520", "0.620", "–", "80.0 %70.0 to 90.0"] in words.rows


def test_it_says_on_what_and_how_it_was_trained(words):
    assert ["Training", "2024-01-01 00:00:00", "2024-09-01", "500", "490", "2"] in words.rows
    row = next(row for row in words.rows if row[0] == "Model")
    assert row == ["Model", "kronos-nano", "1,234,567", "2", "40", "2", "3.8000", "all epochs", "1 min 15 s", "50"]
    text = " ".join(words.words)
    for told in ("2 min 30 s", "a.csv", "digest", "A note.", "model_name: mine", "A forecast is no investment advice."):
        assert told in text


def test_every_part_of_the_loss_has_its_curve(words):
    titles = [value for name, value in words.values if name == "aria-label"]
    for title in (
        "Validation loss",
        "Coarse token (s1)",
        "Fine token (s2)",
        "Reconstruction from both tokens",
        "Error of the close",
        "Codes in use",
        "Perplexity of the codes",
        "Learning rate",
    ):
        assert title in titles
    assert titles.count("Learning rate") == 2
    # A tokenizer's loss in training is not what its validation measures, so that they share no picture.
    assert titles.count("Loss") == 1


def test_figures_and_curves_lie_beside_the_page(run, page):
    told = json.loads((run / "report.json").read_text("utf-8"))
    assert told["comparison"]["verdict"] == "helped in part"
    assert told["stages"][1]["record"]["best_epoch"] == 2
    assert [one["validation_loss"] for one in told["stages"][1]["epochs"]] == [4.0, 3.9, 3.8]
    for stage in ("tokenizer", "model"):
        assert (stage_folder(run, stage) / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "answer"),
    [((0.1, 0.05, 0.15), ("bad", "It harmed")), ((0.0, -0.1, 0.1), ("neutral", "No evidence that it helped"))],
)
def test_harm_and_no_evidence_are_as_large_as_help(run, tmp_path, change, answer):
    story = replace(load_run_summary(run), comparison=comparison(estimate(*change)))
    text = write_report(story, tmp_path / "report.html").read_text("utf-8")
    assert re.findall(r'<span class="answer (\w+)">([^<]+)</span>', text)[0] == answer


def test_a_training_from_scratch_asks_no_such_question(run, tmp_path):
    story = replace(load_run_summary(run), comparison=comparison(estimate(0, 0, 0), start=None))
    text = write_report(story, tmp_path / "report.html").read_text("utf-8")
    assert "<h1>How far mine has come</h1>" in text
    assert "Trained from scratch" in text
    assert RULE not in text


def test_links_hold_whatever_folders_are_called(run, tmp_path):
    stories = [load_run_summary(run), load_run_summary(make_run(tmp_path / "50 % #1" / "mine"))]
    write_reports(stories, tmp_path / "all.html")
    values = Words((tmp_path / "all.html").read_text("utf-8")).values
    assert ("href", "50%20%25%20%231/mine/report.html") in values


def test_a_training_that_failed_half_way_has_a_page_too(tmp_path):
    run = make_run(tmp_path / "mine", stages=("tokenizer",), done=False)
    states = {"tokenizer": ("failed", f"The disk is full {HOSTILE}."), "model": ("skipped", "it needs its tokenizer")}
    story = load_run_summary(run, states, not_compared="The test part is too short.")
    page = Words(write_reports([story]).read_text("utf-8"))
    text = "\n".join(page.words)
    assert f"Tokenizer, failed: The disk is full {HOSTILE}." in text
    assert "Model, skipped: it needs its tokenizer" in text
    assert "The test part is too short." in text
    assert next(row for row in page.rows if row[0] == "Tokenizer")[3:8] == ["3", "40", "–", "–", "not yet"]


def test_an_empty_folder_tells_nothing_and_does_not_fail(tmp_path):
    story = load_run_summary(tmp_path / "nothing")
    assert (story.name, story.stages, story.comparison) == ("nothing", (), None)
    write_report(story, tmp_path / "report.html")


def test_a_damaged_file_is_named(tmp_path):
    run = make_run(tmp_path / "mine", stages=("model",))
    (run / "comparison.json").write_text("{", "utf-8")
    with pytest.raises(DataError, match=r"comparison\.json"):
        load_run_summary(run)


def test_several_trainings_have_one_table_with_links(run, tmp_path):
    other = make_run(tmp_path / "runs" / "other", found=comparison(estimate(0.1, 0.05, 0.15)))
    failed = replace(load_run_summary(make_run(tmp_path / "runs" / "failed", stages=())), name=f"failed {HOSTILE}")
    first = write_reports([other, failed], language="en")
    assert first == tmp_path / "runs" / "trainings.html"
    page = Words(first.read_text("utf-8"))
    links = [value for name, value in page.values if name == "href"]
    assert links == ["other/report.html", "failed/report.html"]
    assert all((first.parent / link).is_file() for link in links)
    row = next(row for row in page.rows if row[0] == "mine")
    assert row[1:3] == ["Tokenizer: trained, Model: trained", "It harmed"]
    assert row[3:5] == ["+0.100+0.050 to +0.150", "+0.010−0.020 to +0.040"]
    assert next(row for row in page.rows if row[0] == f"failed {HOSTILE}")[2] == "Not compared"
    assert "<script" not in first.read_text("utf-8")


@pytest.mark.parametrize("look", ["auto", "light", "dark"])
def test_pages_speak_chinese_and_look_as_asked(run, tmp_path, look):
    story = load_run_summary(run)
    text = write_report(story, tmp_path / "a.html", look=look, palette="colour-blind", language="zh").read_text("utf-8")
    assert 'lang="zh-Hans"' in text
    assert "训练 mine 有帮助吗？" in text
    assert "验证损失" in text
    overview = write_overview([story, story], tmp_path / "b.html", look=look, language="zh").read_text("utf-8")
    assert "2 次训练的结果" in overview


def test_an_unknown_look_writes_nothing(run, tmp_path):
    with pytest.raises(ParameterError, match="sepia"):
        write_report(load_run_summary(run), tmp_path / "report.html", look="sepia")
    assert not (tmp_path / "report.html").exists()


def test_a_log_without_figures_has_a_sheet_too(tmp_path):
    monitor = JsonLines(tmp_path / "log.jsonl")
    monitor.on_start({"stage": "model"})
    save_curves(TrainingHistory.read(tmp_path / "log.jsonl"), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").is_file()
