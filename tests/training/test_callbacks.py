"""Monitors listen: nothing logged is lost or told twice, whatever kills a training."""

import io
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.errors import DataError, ParameterError, StorageError
from kronos.training.callbacks import JsonLines, TensorBoard, Terminal, TrainingCallback, TrainingHistory, read_lines

PLAN = {"stage": "model", "epochs": 3, "steps_per_epoch": 20, "steps": 60, "step": 0, "batch_size": 8}
FITTED = SimpleNamespace(epochs=3, steps=60, best_epoch=2, best=4.5, stopped="finished")


def epoch_logs(epoch):
    return {"step": 20 * epoch, "train_loss": 5 - epoch / 10, "validation_loss": 5.0 + (epoch - 2) ** 2}


def train(monitor, first=0, killed_at=None):
    """What a loop tells between two steps; after a kill it tells nothing more."""
    monitor.on_start({**PLAN, "step": first})
    for step in range(first + 5, 61, 5):
        if killed_at is not None and step > killed_at:
            return
        monitor.on_step(step, {"loss": 10 / step, "s1": 5 / step, "learning_rate": 1e-4})
        if step % 20 == 0:
            monitor.on_epoch_end(step // 20, epoch_logs(step // 20))
            monitor.save_checkpoint("folder", best=step == 40)
    monitor.on_end(FITTED)


class Terminals(io.StringIO):
    def isatty(self):
        return True


def test_the_base_listens_and_does_nothing():
    train(TrainingCallback())


def test_a_log_holds_everything(tmp_path):
    train(JsonLines(tmp_path / "deep" / "log.jsonl"))
    log = TrainingHistory.read(tmp_path / "deep" / "log.jsonl")
    assert log.stage == "model"
    assert log.plan["steps"] == 60
    assert log.steps["step"].tolist() == list(range(5, 61, 5))
    assert log.steps["loss"].tolist() == [10 / step for step in range(5, 61, 5)]
    assert log.epochs["epoch"].tolist() == [1, 2, 3]
    assert log.epochs["validation_loss"].tolist() == [6, 5, 6]
    assert log.best_epoch == 2
    assert log.parts == ["s1"]
    assert (log.starts, log.end["stopped"]) == (1, "finished")


@pytest.mark.parametrize("resumed", [20, 25, 40])
def test_a_resume_tells_no_step_twice_and_loses_none(tmp_path, resumed):
    path = tmp_path / "log.jsonl"
    train(JsonLines(path), killed_at=45)
    train(JsonLines(path), first=resumed)
    log = TrainingHistory.read(path)
    assert log.steps["step"].tolist() == list(range(5, 61, 5))
    assert log.epochs["epoch"].tolist() == [1, 2, 3]
    assert log.starts == 2
    assert log.plan["step"] == resumed


def test_an_epoch_that_ends_again_after_a_resume_is_told_once(tmp_path):
    """Killed after the line, before the checkpoint that holds the validated epoch."""
    path = tmp_path / "log.jsonl"
    first = JsonLines(path)
    first.on_start(PLAN)
    first.on_step(20, {"loss": 1.0})
    first.on_epoch_end(1, epoch_logs(1))
    again = JsonLines(path)
    again.on_start({**PLAN, "step": 20})
    again.on_epoch_end(1, epoch_logs(1))
    assert [one["event"] for one in read_lines(path)] == ["start", "step", "epoch", "start"]


def test_a_resume_before_the_first_step_keeps_what_the_start_was_worth(tmp_path):
    """The start is validated before any step; a training killed right after it goes on at step 0."""
    path = tmp_path / "log.jsonl"
    first = JsonLines(path)
    first.on_start({**PLAN, "best": None})
    first.on_epoch_end(0, {"step": 0, "epoch": 0.0, "validation_loss": 5.0})
    train(JsonLines(path), killed_at=-1)
    assert TrainingHistory.read(path).epochs.empty
    first.on_start({**PLAN, "best": None})
    first.on_epoch_end(0, {"step": 0, "epoch": 0.0, "validation_loss": 5.0})
    JsonLines(path).on_start({**PLAN, "best": 5.0})
    assert TrainingHistory.read(path).epochs["validation_loss"].tolist() == [5.0]


def test_a_torn_line_is_passed_over_and_mended(tmp_path):
    path = tmp_path / "log.jsonl"
    train(JsonLines(path), killed_at=20)
    whole = path.read_text("utf-8")
    path.write_text(whole + '{"event": "step", "st', "utf-8")
    assert TrainingHistory.read(path).steps["step"].tolist() == [5, 10, 15, 20]
    train(JsonLines(path), first=20)
    for line in path.read_text("utf-8").splitlines():
        json.loads(line)


def test_a_training_anew_begins_an_empty_log(tmp_path):
    path = tmp_path / "log.jsonl"
    train(JsonLines(path))
    train(JsonLines(path), killed_at=10)
    assert TrainingHistory.read(path).steps["step"].tolist() == [5, 10]
    assert TrainingHistory.read(path).end == {}


def test_what_is_no_number_is_null(tmp_path):
    path = tmp_path / "log.jsonl"
    monitor = JsonLines(path)
    monitor.on_start(PLAN)
    monitor.on_step(1, {"loss": math.nan, "s1": np.float32(2.5), "norm": math.inf})
    monitor.log_metrics({"crps": 0.5}, 1)
    assert "NaN" not in path.read_text()
    [step] = [one for one in read_lines(path) if one["event"] == "step"]
    assert (step["loss"], step["s1"], step["norm"]) == (None, 2.5, None)
    assert math.isnan(TrainingHistory.read(path).steps["loss"][0])


def test_time_counts_while_it_ran(tmp_path):
    path = tmp_path / "log.jsonl"
    times = ["10:00:00", "10:01:00", "12:00:00", "12:00:30"]
    events = ["start", "step", "start", "step"]
    lines = [
        {"event": event, "step": place, "time": f"2025-01-01T{time}Z"}
        for place, (event, time) in enumerate(zip(events, times, strict=True))
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    assert TrainingHistory.read(path).seconds == 90


@given(st.lists(st.text(alphabet='{}[]":,0aestp\\\u2028 ', max_size=30), max_size=10))
def test_any_text_is_read_or_refused_in_a_sentence(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    path.write_text("\n".join([*lines, '{"event": "step", "step": 3, "loss": "text", "time": 5}']), "utf-8")
    log = TrainingHistory.read(path)
    assert log.seconds == 0
    assert 3 in log.steps["step"].tolist()
    path.write_text("nothing")
    with pytest.raises(DataError, match="holds no log"):
        TrainingHistory.read(path)


def test_a_log_that_cannot_be_written_says_so(tmp_path):
    monitor = JsonLines(tmp_path / "log.jsonl")
    monitor.on_start(PLAN)
    (tmp_path / "log.jsonl").unlink()
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(StorageError, match=r"log\.jsonl"):
        monitor.on_step(1, {"loss": 1.0})


def test_nobody_watching_sees_nothing(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    train(Terminal("mine"))
    assert stream.getvalue() == ""


def test_whoever_does_not_want_progress_has_none(monkeypatch):
    stream = Terminals()
    monkeypatch.setattr(sys, "stderr", stream)
    train(Terminal("mine", wanted=False))
    assert stream.getvalue() == ""


def test_a_person_sees_epochs_loss_speed_and_what_is_left(monkeypatch):
    stream = Terminals()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    monitor = Terminal("[mine]")
    train(monitor)
    text = stream.getvalue()
    assert "[mine]" in text
    assert "samples/s" in text
    assert "left:" in text
    assert "epoch 1/3: train 4.9000 · validation 6.0000 · best so far" in text
    assert "validation 5.0000 · best so far" in text
    assert "epoch 3/3: train 4.7000 · validation 6.0000\r" in text.replace("\n", "\r")


def test_what_was_best_before_a_resume_is_remembered(monkeypatch):
    stream = Terminals()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "200")
    monitor = Terminal("mine")
    monitor.on_start({**PLAN, "step": 20, "best": 1.0})
    monitor.on_epoch_end(2, epoch_logs(2))
    monitor.on_end(FITTED)
    assert "best so far" not in stream.getvalue()


def test_tensorboard_has_the_curves(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(TensorBoard(tmp_path), killed_at=45)
    train(TensorBoard(tmp_path), first=40)
    found = accumulators.EventAccumulator(str(tmp_path))
    found.Reload()
    assert [one.step for one in found.Scalars("step/loss")] == list(range(5, 61, 5))
    assert [one.step for one in found.Scalars("validation/loss")] == [20, 40, 60]


def test_tensorboard_that_is_missing_is_named_with_its_mend(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ParameterError, match=r"pip install 'kronos\[train\]'"):
        TensorBoard(tmp_path)


def test_a_line_ends_where_json_ends(tmp_path):
    log = JsonLines(tmp_path / "log.jsonl")
    log.on_start({"step": 0})
    log.save_checkpoint(Path("odd\u2028name\u0085"), best=True)
    assert [one["event"] for one in read_lines(tmp_path / "log.jsonl")] == ["start", "checkpoint"]
