"""Callbacks: no event is lost or logged twice, whenever a training is killed."""

import io
import json
import math
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import forks
from kronos.errors import DataError, ParameterError, StorageError
from kronos.training.callbacks import (
    EarlyStopping,
    JsonLines,
    TensorBoard,
    Terminal,
    TrainingCallback,
    TrainingHistory,
    read_log,
)

PLAN = {"stage": "model", "epochs": 3, "steps_per_epoch": 20, "steps": 60, "step": 0, "batch_size": 8}
RESULT = SimpleNamespace(epochs=3, steps=60, best_epoch=2, best=4.5, stopped="finished")


def epoch_logs(epoch):
    return {"step": 20 * epoch, "train_loss": 5 - epoch / 10, "validation_loss": 5.0 + (epoch - 2) ** 2}


def train(callback, first=0, killed_at=None):
    """Call the callback as the training loop does, up to a kill."""
    callback.on_start({**PLAN, "step": first})
    for step in range(first + 5, 61, 5):
        if killed_at is not None and step > killed_at:
            return
        callback.on_step(step, {"loss": 10 / step, "s1": 5 / step, "learning_rate": 1e-4})
        if step % 20 == 0:
            callback.on_epoch_end(step // 20, epoch_logs(step // 20))
            callback.save_checkpoint("folder", best=step == 40)
    callback.on_end(RESULT)


class TerminalStream(io.StringIO):
    def isatty(self):
        return True


def test_base_class_ignores_all_events():
    train(TrainingCallback())


def test_log_holds_all_events(tmp_path):
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
def test_resume_logs_every_step_once(tmp_path, resumed):
    path = tmp_path / "log.jsonl"
    train(JsonLines(path), killed_at=45)
    train(JsonLines(path), first=resumed)
    log = TrainingHistory.read(path)
    assert log.steps["step"].tolist() == list(range(5, 61, 5))
    assert log.epochs["epoch"].tolist() == [1, 2, 3]
    assert log.starts == 2
    assert log.plan["step"] == resumed


def test_repeated_end_of_an_epoch_is_logged_once(tmp_path):
    """Killed after the line, before the checkpoint that holds the validated epoch."""
    path = tmp_path / "log.jsonl"
    first = JsonLines(path)
    first.on_start(PLAN)
    first.on_step(20, {"loss": 1.0})
    first.on_epoch_end(1, epoch_logs(1))
    again = JsonLines(path)
    again.on_start({**PLAN, "step": 20})
    again.on_epoch_end(1, epoch_logs(1))
    assert [line["event"] for line in read_log(path)] == ["start", "step", "epoch", "start"]


def test_resume_before_the_first_step_keeps_the_initial_validation(tmp_path):
    """The initial weights are validated before any step; a training killed right after that resumes at step 0."""
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


def test_incomplete_last_line_is_skipped_and_removed(tmp_path):
    path = tmp_path / "log.jsonl"
    train(JsonLines(path), killed_at=20)
    whole = path.read_text("utf-8")
    path.write_text(whole + '{"event": "step", "st', "utf-8")
    assert TrainingHistory.read(path).steps["step"].tolist() == [5, 10, 15, 20]
    train(JsonLines(path), first=20)
    for line in path.read_text("utf-8").splitlines():
        json.loads(line)


def test_new_training_starts_an_empty_log(tmp_path):
    path = tmp_path / "log.jsonl"
    train(JsonLines(path))
    train(JsonLines(path), killed_at=10)
    assert TrainingHistory.read(path).steps["step"].tolist() == [5, 10]
    assert TrainingHistory.read(path).end == {}


def test_values_that_are_not_finite_are_null(tmp_path):
    path = tmp_path / "log.jsonl"
    callback = JsonLines(path)
    callback.on_start(PLAN)
    callback.on_step(1, {"loss": math.nan, "s1": np.float32(2.5), "norm": math.inf})
    callback.log_metrics({"crps": 0.5}, 1)
    assert "NaN" not in path.read_text()
    [step] = [line for line in read_log(path) if line["event"] == "step"]
    assert (step["loss"], step["s1"], step["norm"]) == (None, 2.5, None)
    assert math.isnan(TrainingHistory.read(path).steps["loss"][0])


def test_seconds_count_running_time_only(tmp_path):
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
def test_any_text_is_read_or_rejected(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    path.write_text("\n".join([*lines, '{"event": "step", "step": 3, "loss": "text", "time": 5}']), "utf-8")
    log = TrainingHistory.read(path)
    assert log.seconds == 0
    assert 3 in log.steps["step"].tolist()
    path.write_text("nothing")
    with pytest.raises(DataError, match="not a training log"):
        TrainingHistory.read(path)


def test_unwritable_log_raises(tmp_path):
    callback = JsonLines(tmp_path / "log.jsonl")
    callback.on_start(PLAN)
    (tmp_path / "log.jsonl").unlink()
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(StorageError, match=r"log\.jsonl"):
        callback.on_step(1, {"loss": 1.0})


def test_terminal_is_silent_without_a_tty(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    train(Terminal("mine"))
    assert stream.getvalue() == ""


def test_terminal_is_silent_when_disabled(monkeypatch):
    stream = TerminalStream()
    monkeypatch.setattr(sys, "stderr", stream)
    train(Terminal("mine", enabled=False))
    assert stream.getvalue() == ""


def test_terminal_shows_epochs_loss_speed_and_remaining_time(monkeypatch):
    stream = TerminalStream()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    callback = Terminal("[mine]")
    train(callback)
    text = stream.getvalue()
    assert "[mine]" in text
    assert "samples/s" in text
    assert "left:" in text
    assert "epoch 1/3: train 4.9000 · validation 6.0000 · best so far" in text
    assert "validation 5.0000 · best so far" in text
    assert "epoch 3/3: train 4.7000 · validation 6.0000\r" in text.replace("\n", "\r")


def test_terminal_knows_the_best_loss_before_a_resume(monkeypatch):
    stream = TerminalStream()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "200")
    callback = Terminal("mine")
    callback.on_start({**PLAN, "step": 20, "best": 1.0})
    callback.on_epoch_end(2, epoch_logs(2))
    callback.on_end(RESULT)
    assert "best so far" not in stream.getvalue()


@pytest.mark.slow
def test_tensorboard_has_all_curves(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    code = f"""import os, signal
from training.test_callbacks import TensorBoard, train
train(TensorBoard({str(tmp_path)!r}), killed_at=45)
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    process = forks.run([sys.executable, "-c", code], preload=forks.TRAINING, env=environment)
    assert process.returncode == -signal.SIGKILL
    killed = time.time()
    while int(time.time()) == int(killed):  # event files are read in the order of the seconds in their names
        time.sleep(0.05)
    train(TensorBoard(tmp_path), first=40)
    events = accumulators.EventAccumulator(str(tmp_path))
    events.Reload()
    assert [line.step for line in events.Scalars("step/loss")] == list(range(5, 61, 5))
    assert [line.step for line in events.Scalars("validation/loss")] == [20, 40, 60]


def test_missing_tensorboard_raises_with_the_fix(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ParameterError, match=r"pip install 'kronos-forecast\[train\]'"):
        TensorBoard(tmp_path)


def test_other_line_separators_do_not_split_lines(tmp_path):
    log = JsonLines(tmp_path / "log.jsonl")
    log.on_start({"step": 0})
    log.save_checkpoint(Path("odd\u2028name\u0085"), best=True)
    assert [line["event"] for line in read_log(tmp_path / "log.jsonl")] == ["start", "checkpoint"]


@pytest.mark.parametrize(("patience", "epoch", "stops"), [(None, 99, False), (2, 4, False), (2, 5, True), (1, 4, True)])
def test_early_stopping_counts_epochs_since_the_best(patience, epoch, stops):
    assert EarlyStopping(patience).should_stop(epoch, best_epoch=3) is stops
