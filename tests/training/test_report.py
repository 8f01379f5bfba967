"""Reports of trainings: verdict, comparison, data, stages, curves; overview of several."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kronos.errors import DataError, ParameterError
from kronos.metrics import Estimate
from kronos.reports import PageOptions
from kronos.training.callbacks import JsonLines, TrainingHistory
from kronos.training.comparison import RULE, ComparisonRow, Measure, TrainingComparison
from kronos.training.report import TrainingOverview, TrainingReport, write_reports
from kronos.training.report.summary import RunSummary, load_run_summary, save_curves
from kronos.training.run_folder import StageRecord, result_folder, save_record, stage_folder

SCRIPT = "<script>alert('x')</script>"
DATA = {
    "data": f"candles {SCRIPT}",
    "simulated": False,
    "candles": 1500,
    "parts": {
        part: {"candles": 500, "kept": 490, "stretches": 2, "first": f"2024-0{n}-01T00:00:00", "last": "2024-09-01"}
        for n, part in enumerate(("train", "val", "test"), start=1)
    },
    "groups": {f"crypto {SCRIPT}": {"series": 3, "train": 900, "val": 200, "test": 210}},
    "files": [{"file": "a.csv", "sha256": "abc"}],
    "unreadable": [{"path": "b.csv", "problem": f"It has no close {SCRIPT}."}],
}
FIGURES = {
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
        f"crypto {SCRIPT}": {"start": 4.2, "tuned": 4.1, "n": 60},
        "fx 1h": {"start": 4.0, "tuned": 4.3, "n": 40},
    }
    measures = (
        Measure("nll", 4.2, 4.1, change, groups),
        Measure("crps", 0.6, 0.61, estimate(0.01, -0.02, 0.04), {"crypto 1h": {"start": 0.6, "tuned": 0.61, "n": 90}}),
    )
    skill, coverage = estimate(0.02, -0.1, 0.1), estimate(0.8, 0.7, 0.9)
    contenders = (
        ComparisonRow("mine", "tuned", 90, {"1": 0.5, "10": 0.6}, skill, coverage),
        ComparisonRow("kronos-nano", "start", 90, {"1": 0.51, "10": 0.61}, skill, coverage),
        ComparisonRow("historical-volatility", "reference", 90, {"1": 0.52, "10": 0.62}, None, coverage),
    )
    return TrainingComparison(
        measures=measures if start else (),
        contenders=contenders,
        against_baselines=("price: no evidence of an edge",),
        notes=("A note.",),
        warnings=(f"A warning {SCRIPT}.",),
        names=(start, "mine"),
        tested={
            "first": "2024-07-01", "last": "2024-09-01", "origins": 90, "windows": 100, "instruments": 3,
            "groups": ["crypto 1h"], "lookback": 90, "horizon": 10, "paths": 30,
        },
        provenance={"plan": "digest", "seed": 1, "versions": {}, "created": "now"},
    )  # fmt: skip


def make_run(
    folder: Path, *, stages=("tokenizer", "model"), done=True, comparison_result: TrainingComparison | None = None
) -> Path:
    """Write the folder of a run, as training does."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"model_name: mine\ndescription: hourly & {SCRIPT}\n", "utf-8")
    for stage in stages:
        callback = JsonLines(stage_folder(folder, stage) / "log.jsonl")
        plan = {"stage": stage, "epochs": 2, "steps_per_epoch": 20, "steps": 40, "step": 0, "parameters": 1234567}
        callback.on_start(plan)
        text_part = FIGURES[stage]
        for epoch in range(3):
            for step in range(20 * epoch - 15, 20 * epoch + 1, 5) if epoch else ():
                callback.on_step(step, {"loss": 4.0, "learning_rate": 1e-4, "samples_per_second": 50.0, **text_part})
            validation = {f"validation_{name}": value / (epoch + 1) for name, value in text_part.items()}
            callback.on_epoch_end(epoch, {"step": 20 * epoch, "validation_loss": 4 - epoch / 10, **validation})
        if done:
            result_folder(folder, stage).mkdir()
            for name in ("config.json", "model.safetensors"):
                (result_folder(folder, stage) / name).write_text("{}")
            save_record(folder, StageRecord(stage, 2, 40, 2, 3.8, "finished", 75.0, "kronos-nano", DATA))
    if comparison_result is not None:
        comparison_result.save(folder / "comparison.json")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return make_run(
        tmp_path_factory.mktemp("runs") / "mine", comparison_result=comparison(estimate(-0.1, -0.15, -0.05))
    )


@pytest.fixture(scope="module")
def page(run) -> str:
    return write_reports([run]).read_text("utf-8")


def without_curves(run: Path) -> RunSummary:
    """A summary without the logs of its stages, whose figures take most of the time of a page."""
    summary = load_run_summary(run)
    return replace(summary, stages=tuple(replace(stage, log=None) for stage in summary.stages))


class ParsedPage(HTMLParser):
    """Text, table rows, tags and attributes of a page; its tags must be balanced."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.ids, self.values, self.words, self.rows = [], [], [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.record(tag, attrs)
        if tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.record(tag, attrs)

    def record(self, tag, attrs):
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
def parsed(page) -> ParsedPage:
    return ParsedPage(page)


def test_page_is_well_formed_and_self_contained(page, parsed):
    assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
    assert not [name for name, _ in parsed.values if name in ("src", "style", "srcset") or name.startswith("on")]
    assert [value for name, value in parsed.values if name == "href" and not value.startswith("#")] == []
    assert len(parsed.ids) == len(set(parsed.ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)) <= set(parsed.ids)


def test_text_from_users_is_escaped(page, parsed):
    assert "<script" not in page
    text = "".join(parsed.words)
    for text_part in (f"hourly & {SCRIPT}", f"A warning {SCRIPT}.", f"It has no close {SCRIPT}.", f"crypto {SCRIPT}"):
        assert text_part in text


def test_verdict_comes_first_with_rule_and_figures(page, parsed):
    assert re.findall(r'<span class="answer (\w+)">([^<]+)</span>', page)[:3] == [
        ("neutral", "It helped in part"),
        ("good", "Better"),
        ("neutral", "No evidence"),
    ]
    text = "\n".join(parsed.words)
    assert RULE in text
    assert "NLL 4.200 → 4.100 nats per candle, change −0.100, −0.150 to −0.050" in text
    assert ["CRPS", "σ√h", "0.600", "0.610", "+0.010−0.020 to +0.040", "No evidence"] in parsed.rows


def test_contenders_are_in_one_table(parsed):
    tuned = ["mineafter", "0.500 (best)", "0.600 (best)", "2.0 %−10.0 to 10.0", "80.0 %70.0 to 90.0"]
    assert tuned in parsed.rows
    assert ["historical-volatilityreference", "0.520", "0.620", "–", "80.0 %70.0 to 90.0"] in parsed.rows


def test_page_describes_data_and_stages(parsed):
    assert ["Training", "2024-01-01 00:00:00", "2024-09-01", "500", "490", "2"] in parsed.rows
    row = next(row for row in parsed.rows if row[0] == "Model")
    assert row == ["Model", "kronos-nano", "1,234,567", "2", "40", "2", "3.8000", "all epochs", "1 min 15 s", "50"]
    text = " ".join(parsed.words)
    for text_part in (
        "2 min 30 s",
        "a.csv",
        "digest",
        "A note.",
        "model_name: mine",
        "A forecast is not investment advice.",
    ):
        assert text_part in text


def test_every_part_of_the_loss_has_a_figure(parsed):
    titles = [value for name, value in parsed.values if name == "aria-label"]
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
    # A tokenizer's training loss is not what its validation measures, so they share no figure.
    assert titles.count("Loss") == 1


def test_json_and_curves_are_written_too(run, page):
    text_part = json.loads((run / "report.json").read_text("utf-8"))
    assert text_part["comparison"]["verdict"] == "helped in part"
    assert text_part["stages"][1]["record"]["best_epoch"] == 2
    assert [item["validation_loss"] for item in text_part["stages"][1]["epochs"]] == [4.0, 3.9, 3.8]
    for stage in ("tokenizer", "model"):
        assert (stage_folder(run, stage) / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "answer"),
    [((0.1, 0.05, 0.15), ("bad", "It harmed")), ((0.0, -0.1, 0.1), ("neutral", "No evidence that it helped"))],
)
def test_harm_and_no_evidence_are_shown_as_prominently(run, tmp_path, change, answer):
    summary = replace(without_curves(run), comparison=comparison(estimate(*change)))
    text = TrainingReport(summary).save(tmp_path / "report.html").read_text("utf-8")
    assert re.findall(r'<span class="answer (\w+)">([^<]+)</span>', text)[0] == answer


def test_training_from_scratch_has_another_title(run, tmp_path):
    summary = replace(without_curves(run), comparison=comparison(estimate(0, 0, 0), start=None))
    text = TrainingReport(summary).save(tmp_path / "report.html").read_text("utf-8")
    assert "<h1>Progress of mine</h1>" in text
    assert "Trained from scratch" in text
    assert RULE not in text


@pytest.mark.slow
def test_links_are_quoted(tmp_path):
    summaries = [without_curves(make_run(tmp_path / parent / "mine")) for parent in ("plain", "50 % #1")]
    write_reports(summaries, tmp_path / "all.html")
    values = ParsedPage((tmp_path / "all.html").read_text("utf-8")).values
    assert ("href", "50%20%25%20%231/mine/report.html") in values


def test_failed_training_has_a_page(tmp_path):
    run = make_run(tmp_path / "mine", stages=("tokenizer",), done=False)
    states = {"tokenizer": ("failed", f"The disk is full {SCRIPT}."), "model": ("skipped", "it needs its tokenizer")}
    summary = load_run_summary(run, states, not_compared="The test part is too short.")
    page = ParsedPage(write_reports([summary]).read_text("utf-8"))
    text = "\n".join(page.words)
    assert f"Tokenizer, failed: The disk is full {SCRIPT}." in text
    assert "Model, skipped: it needs its tokenizer" in text
    assert "The test part is too short." in text
    assert next(row for row in page.rows if row[0] == "Tokenizer")[3:8] == ["3", "40", "–", "–", "not finished"]


def test_empty_folder_has_a_page(tmp_path):
    summary = load_run_summary(tmp_path / "nothing")
    assert (summary.name, summary.stages, summary.comparison) == ("nothing", (), None)
    TrainingReport(summary).save(tmp_path / "report.html")


def test_damaged_file_raises(tmp_path):
    run = make_run(tmp_path / "mine", stages=("model",))
    (run / "comparison.json").write_text("{", "utf-8")
    with pytest.raises(DataError, match=r"comparison\.json"):
        load_run_summary(run)


def test_overview_has_a_table_with_links(run, tmp_path):
    other = make_run(tmp_path / "runs" / "other", comparison_result=comparison(estimate(0.1, 0.05, 0.15)))
    failed = replace(load_run_summary(make_run(tmp_path / "runs" / "failed", stages=())), name=f"failed {SCRIPT}")
    first = write_reports([without_curves(other), failed])
    assert first == tmp_path / "runs" / "trainings.html"
    page = ParsedPage(first.read_text("utf-8"))
    links = [value for name, value in page.values if name == "href"]
    assert links == ["other/report.html", "failed/report.html"]
    assert all((first.parent / link).is_file() for link in links)
    row = next(row for row in page.rows if row[0] == "mine")
    assert row[1:3] == ["Tokenizer: trained, Model: trained", "It harmed"]
    assert row[3:5] == ["+0.100+0.050 to +0.150", "+0.010−0.020 to +0.040"]
    assert next(row for row in page.rows if row[0] == f"failed {SCRIPT}")[2] == "Not compared"
    assert "<script" not in first.read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("look", ["auto", "light", "dark"])
def test_pages_in_chinese_and_in_every_look(run, look):
    summary = load_run_summary(run)
    summary = replace(summary, stages=summary.stages[1:])
    options = PageOptions(look, "colour-blind", "zh")
    text = TrainingReport(summary, options).render()
    assert 'lang="zh-Hans"' in text
    assert f'data-look="{look}"' in text
    assert "训练 mine 有帮助吗？" in text
    assert "验证损失" in text
    assert "2 次训练的结果" in TrainingOverview([summary, summary], run, options).render()


def test_unknown_options_raise():
    for options in ({"look": "sepia"}, {"palette": "pastel"}, {"language": "fr"}):
        with pytest.raises(ParameterError, match=next(iter(options.values()))):
            PageOptions(**options)


def test_log_without_figures_has_curves(tmp_path):
    callback = JsonLines(tmp_path / "log.jsonl")
    callback.on_start({"stage": "model"})
    save_curves(TrainingHistory.read(tmp_path / "log.jsonl"), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").is_file()
