"""The fine-tuning guide: its walk-through runs as it stands, and what it says of keys and messages is the code's."""

import ast
import math
import re
import sys

import pytest
import torch
from typer.testing import CliRunner

from docs.running import ROOT, blocks, run
from kronos.cli import app
from kronos.datasets.config import StageTraining, TrainingSection, WindowsSection
from kronos.nn.quantizer import BinarySphericalQuantizer, QuantizerWeights
from kronos.training.config import TrainConfig, TrainingArguments, load_config

GUIDE = (ROOT / "docs" / "fine-tuning.md").read_text("utf-8")
WALK = GUIDE.split("<!-- walk-through:")[1].split("<!-- end of walk-through -->")[0]


def table(heading: str) -> list[list[str]]:
    """The cells of the rows under a heading, of all its tables."""
    section = GUIDE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [
        line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ") and "---" not in line
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_walk_through(tmp_path):
    (tmp_path / "both.yaml").write_text(blocks(WALK, "yaml")[0], "utf-8")
    lines = [line for block in blocks(WALK, "sh") for line in block.strip().splitlines()]
    if sys.platform == "win32":
        lines = [line for line in lines if not line.startswith("torchrun")]
    outputs = [run(line, tmp_path).stdout for line in lines]
    assert "nothing was trained or written" in outputs[1]
    assert "SIMULATED DATA" in " ".join(outputs[3].split())  # wherever the line breaks
    models = tmp_path / "outputs" / "models"
    assert {path.name for path in models.iterdir() if not path.name.startswith(".")} >= {"first", "adapted", "both"}
    record = (models / "both" / "model" / "kronos.json").read_text("utf-8")
    assert '"tokenizer": "../tokenizer"' in record
    (tmp_path / "guide.py").write_text("\n".join(blocks(GUIDE, "python")), "utf-8")
    assert "%" in run([sys.executable, "guide.py"], tmp_path).stdout
    assert (tmp_path / "runs" / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.slow
def test_commands_that_it_shows_are_understood():
    """Every option of every ``kronos`` command, wherever the guide or a README shows one."""
    texts = [GUIDE, *((ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md"))]
    shown = [line for text in texts for block in blocks(text, "sh") for line in block.splitlines()]
    shown += [code for text in texts for code in re.findall(r"^\|.*`(kronos [^`]+)`", text, re.MULTILINE)]
    trainings = [line for line in shown if re.match(r"(torchrun .* -m )?kronos (train|pipeline)", line)]
    assert len(trainings) >= 12
    told = {}  # by command
    for line in trainings:
        words = line.split("#")[0].split()
        words = words[words.index("kronos") + 1 :]
        command = tuple(words[:2] if words[0] == "train" else words[:1])
        if command not in told:
            told[command] = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "300"}).output
        for option in re.findall(r"--[a-z-]+", " ".join(words)):
            assert option in told[command], line


def test_the_keys_are_those_of_the_code():
    rows = table("Several models, and everything at once")
    named = [re.findall(r"`(\w+)`", row[0]) for row in rows]
    told = {name for names in named for name in names}
    sections = {"model_name", *TrainConfig.model_fields}
    keys = {name for name in told if name in sections}
    assert keys == sections
    assert {name for row in rows if row[0] == "`windows`" for name in re.findall(r"`(\w+)`", row[1])} >= set(
        WindowsSection.model_fields
    )
    training = set(TrainingSection.model_fields) - {"tokenizer", "model", "learning_rate"}
    assert training <= told
    assert set(StageTraining.model_fields) <= told | {"learning_rate"}


def test_the_defaults_are_those_of_the_code():
    windows = WindowsSection()
    assert (windows.lookback, windows.predict, windows.clip, windows.without_volume, windows.mirrored) == (
        90, 10, 5, 0.05, 0,
    )  # fmt: skip
    tokenizer, model = TrainingArguments.of("tokenizer"), TrainingArguments.of("model")
    assert (tokenizer.learning_rate, model.learning_rate) == (2e-4, 4e-5)
    assert (tokenizer.gradient_clip, model.gradient_clip) == (2.0, 3.0)
    assert (model.batch_size, model.accumulation_steps, model.epochs, model.validation_batches) == (50, 1, 30, 400)
    assert (model.weight_decay, model.schedule, model.warmup, model.final) == (0.1, "onecycle", 0.03, 0.01)
    assert (model.checkpoint_minutes, model.seed, model.patience, model.ema) == (5, 100, None, None)


def test_the_configurations_that_it_names_ship():
    names = [
        name for row in table("Several models, and everything at once")[:5] for name in re.findall(r"`(\w+)`", row[0])
    ]
    assert {"pretrain_mini", "pretrain_nano"} <= set(names)
    for name in names:
        assert load_config(name).model_name


def test_the_least_loss_of_a_tokenizer_is_as_told():
    """Perfect reconstructions, every vector a code, every code used as often: nothing is left but the entropies."""
    weights = QuantizerWeights(beta=0.05, gamma0=1.0, gamma=1.1, zeta=0.05)
    random = torch.Generator().manual_seed(0)
    codes = torch.randint(2, (10_000, 20), generator=random).float() * 2 - 1
    codes = torch.cat((codes, -codes)) / math.sqrt(20)
    _, loss = BinarySphericalQuantizer(10, 10, weights, 4)(codes)
    told = float(re.search(r"−(0\.\d+) at the least", GUIDE)[1])
    assert -loss.total.item() / 2 == pytest.approx(told, abs=5e-4)
    assert loss.codebook_entropy.item() == pytest.approx(13.86, abs=0.01)
    assert "13.86" in GUIDE


@pytest.mark.slow
def test_what_the_guide_quotes_is_what_is_said():
    quoted = [row[0] for row in table("When something goes wrong") if row[0].startswith("`")]
    assert len(quoted) >= 10
    # Sentences are written over several lines, their middle filled in later: literals side by side are one text.
    said = [
        "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        if isinstance(node, ast.JoinedStr)
        else node.value
        for path in ROOT.joinpath("src", "kronos").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
    ]
    for sentence in quoted:
        for part in re.split(r"…|validation|'", sentence.strip("`")):
            assert any(part.strip() in text for text in said), f"'{part}' of {sentence}"
