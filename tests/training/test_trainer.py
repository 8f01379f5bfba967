"""Training loop: learning, best weights, early stopping, time limit, checkpoints and resume."""

import itertools
import json
import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from kronos.datasets.batching import collate
from kronos.datasets.windows import WindowDataset
from kronos.errors import CheckpointError, ParameterError, StorageError
from kronos.nn import Kronos
from kronos.training import Process, TrainingCallback, TrainResult, fit
from kronos.training import trainer as trainer_module
from kronos.training.objectives import ModelObjective
from kronos.training.trainer import Trainer
from training.runs import WINDOWS, datasets, model, objective, small, tokenizer, train


def weights(result: TrainResult) -> dict[str, torch.Tensor]:
    return load_file(result.folder / "model.safetensors")


def assert_same(actual: TrainResult, expected: TrainResult) -> None:
    """Assert equal weights and figures, bit for bit."""
    first, second = weights(actual), weights(expected)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert without_seconds(actual) == without_seconds(expected)


def without_seconds(result: TrainResult) -> tuple:
    """The figures of a result that do not depend on the speed of the machine."""
    history = [{name: value for name, value in record.items() if name != "seconds"} for record in result.history]
    return history, result.best_epoch, result.best, result.steps, result.stopped


class Recorder(TrainingCallback):
    """Records the calls of its methods."""

    def __init__(self):
        self.calls = []

    def on_start(self, plan):
        json.dumps(plan, allow_nan=False)
        self.calls.append(("start", plan["step"]))

    def on_step(self, step, logs):
        assert all(math.isfinite(value) for value in logs.values())
        self.calls.append(("step", step))

    def on_epoch_end(self, epoch, logs):
        self.calls.append(("epoch", epoch, logs["step"]))

    def save_checkpoint(self, path, *, best):
        assert path.exists()
        self.calls.append(("best" if best else "state", path.name))

    def on_end(self, result):
        self.calls.append(("end", result.stopped))


class Interrupted(BaseException):
    """Stands for Ctrl-C."""


class Interrupter(TrainingCallback):
    def __init__(self, step):
        self.step = step

    def on_step(self, step, logs):
        if step == self.step:
            raise Interrupted


def test_training_improves_saves_the_best_weights_and_calls_callbacks(walk, tmp_path):
    recorder = Recorder()
    result = train(walk, tmp_path, callbacks=(recorder,), epochs=3, log_steps=2)
    losses = [record["validation_loss"] for record in result.history]
    assert losses[-1] < losses[0] - 0.2
    assert result.best == min(losses) == losses[result.best_epoch]
    assert (result.epochs, result.steps, result.stopped) == (3, 15, "finished")
    loaded = Kronos.from_pretrained(result.folder)
    assert not loaded.training
    assert recorder.calls[:5] == [
        ("start", 0),
        ("epoch", 0, 0),
        ("state", "a.safetensors"),
        ("best", "best"),
        ("step", 2),
    ]
    assert [call[1] for call in recorder.calls if call[0] == "step"] == [2, 4, 5, 6, 8, 10, 12, 14, 15]
    assert recorder.calls[-1] == ("end", "finished")
    assert not list((tmp_path / "resume").glob("*.safetensors"))
    second = Recorder()
    assert train(walk, tmp_path, callbacks=(second,), epochs=3, log_steps=2) == result
    assert second.calls == []


def test_network_has_the_best_weights_afterwards(walk, tmp_path):
    arguments = small(epochs=1)
    target = objective("model")
    result = fit(target, *datasets(walk, arguments), arguments, tmp_path)
    assert all(torch.equal(value, weights(result)[name]) for name, value in target.network.state_dict().items())
    assert not target.network.training


def test_tokenizer_training_improves_and_reports_code_use(walk, tmp_path):
    result = train(walk, tmp_path, "tokenizer", epochs=2)
    before, after = result.history[0], result.history[-1]
    assert after["validation_full"] < before["validation_full"]
    assert 0 < after["validation_codes_used_s1"] <= 1
    assert 1 <= after["validation_perplexity_s1"] <= 16


def test_early_stopping_returns_the_initial_weights_if_nothing_improves(walk, tmp_path):
    result = train(walk, tmp_path, learning_rate=0.9, schedule="constant", gradient_clip=None, patience=2, epochs=9)
    assert (result.best_epoch, result.epochs, result.stopped) == (0, 2, "patience")
    assert all(torch.equal(value, weights(result)[name]) for name, value in model().state_dict().items())


def test_ema_weights_are_validated_and_saved(walk, tmp_path):
    plain = train(walk, tmp_path / "plain")
    averaged = train(walk, tmp_path / "averaged", ema=0.9)
    assert plain.history[-1]["train_loss"] == averaged.history[-1]["train_loss"]  # the same steps
    assert plain.history[-1]["validation_loss"] != averaged.history[-1]["validation_loss"]
    target = ModelObjective(Kronos.from_pretrained(averaged.folder), tokenizer())
    _, validation = datasets(walk, small())
    whole = collate([validation[index] for index in range(len(validation))])
    with torch.no_grad():
        assert float(target.per_sample(whole).mean()) == pytest.approx(averaged.best, rel=1e-6)


OPTIONS = [
    {"dropout": 0.3, "kind": "model"},
    {"dropout": 0.3, "kind": "tokenizer", "ema": 0.9, "accumulation_steps": 2},
]


@pytest.mark.slow
@pytest.mark.parametrize("case", OPTIONS, ids=["model", "tokenizer"])
def test_resume_from_any_step_ends_with_the_same_weights(case, walk, tmp_path_factory):
    case = dict(case)
    options = {"options": {"dropout": case.pop("dropout")}, "log_steps": 1, **case}
    expected = train(walk, tmp_path_factory.mktemp("whole"), **options)

    @settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.integers(1, 10), max_size=2), st.sampled_from([1e-9, 60.0]))
    def interrupted(steps, minutes):
        folder = tmp_path_factory.mktemp("ended")
        for step in steps:
            with suppress(Interrupted):
                train(walk, folder, callbacks=(Interrupter(step),), checkpoint_minutes=minutes, **options)
        assert_same(train(walk, folder, checkpoint_minutes=minutes, **options), expected)

    interrupted()


def test_resume_rejects_another_network_data_or_settings(walk, tmp_path):
    def start(**changes):
        return train(walk, tmp_path, **{"callbacks": (Interrupter(7),), "log_steps": 1, **changes})

    with pytest.raises(Interrupted):
        start()
    for changes, difference in (
        ({"learning_rate": 1e-3}, "learning_rate"),
        ({"epochs": 5}, "epochs"),
        ({"options": {"loss_on": "window"}}, "loss_on"),
        ({"kind": "tokenizer"}, "(objective|network)"),
    ):
        with pytest.raises(ParameterError, match=f"a different .*{difference}"):
            start(**changes)
    arguments = small()
    parts = datasets(walk, arguments)
    with pytest.raises(ParameterError, match=r"network\.start"):
        fit(ModelObjective(model(seed=9), tokenizer()), *parts, arguments, tmp_path)
    with pytest.raises(ParameterError, match=r"objective\.tokenizer"):
        fit(ModelObjective(model(), tokenizer(seed=9)), *parts, arguments, tmp_path)
    data, samples = parts[0].data, arguments.samples(1)
    other = WindowDataset(data, "train", WINDOWS, samples=samples, seed=7)
    with pytest.raises(ParameterError, match=r"data\.training"):
        fit(objective("model"), other, parts[1], arguments, tmp_path)
    # These change none of the hashed samples, but may change others.
    for changes in ({"without_volume": 0.06}, {"mirrored": 0.01}, {"weighting": "equal"}):
        other = WindowDataset(data, "train", replace(WINDOWS, **changes), samples=samples)
        with pytest.raises(ParameterError, match=rf"data\.windows\.{next(iter(changes))}"):
            fit(objective("model"), other, parts[1], arguments, tmp_path)
    assert start(callbacks=(), log_steps=3).stopped == "finished"
    assert start(callbacks=(), learning_rate=1e-3, resume=False).stopped == "finished"


def test_damaged_checkpoint_falls_back_to_the_previous_one(walk, tmp_path):
    expected = train(walk, tmp_path / "whole", log_steps=1)
    folder = tmp_path / "ended"
    with pytest.raises(Interrupted):
        train(walk, folder, callbacks=(Interrupter(8),), log_steps=1, checkpoint_minutes=1e-9)
    latest = json.loads((folder / "resume" / "latest.json").read_text())["slot"]
    path = folder / "resume" / f"{latest}.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    recorder = Recorder()
    assert_same(train(walk, folder, callbacks=(recorder,), log_steps=1), expected)
    assert recorder.calls[0] == ("start", 6)
    with pytest.raises(Interrupted):
        train(walk, folder, callbacks=(Interrupter(8),), log_steps=1, resume=False)
    for path in (folder / "resume").glob("*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"changed or damaged.*--restart"):
        train(walk, folder)


def zero_tensors(path):
    """Zero every tensor of a safetensors file, whose header stays valid."""
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    path.write_bytes(content[:header] + bytes(len(content) - header))


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def improve_the_best_loss(path):
    """Change a number in JSON, be it a file or the metadata of tensors, without changing its length."""
    content = path.read_bytes()
    place = content.index(b"best") + content[content.index(b"best") :].index(b".") + 2
    digit = b"1" if content[place : place + 1] != b"1" else b"2"
    path.write_bytes(content[:place] + digit + content[place + 1 :])


@pytest.mark.parametrize(
    ("files", "change"),
    [
        ("resume/*.safetensors", zero_tensors),
        ("resume/*.safetensors", flip_a_bit),
        ("resume/*.safetensors", improve_the_best_loss),
        ("resume/latest.json", improve_the_best_loss),
    ],
)
def test_changed_state_is_refused(walk, tmp_path, files, change):
    with pytest.raises(Interrupted):
        train(walk, tmp_path, callbacks=(Interrupter(8),), log_steps=1, checkpoint_minutes=1e-9)
    for path in tmp_path.glob(files):
        change(path)
    with pytest.raises(CheckpointError, match=r"changed or damaged.*--restart"):
        train(walk, tmp_path, log_steps=1)
    assert train(walk, tmp_path, resume=False).stopped == "finished"


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("best/model.safetensors", zero_tensors),
        ("best/model.safetensors", flip_a_bit),
        ("resume/latest.json", improve_the_best_loss),
    ],
)
def test_changed_result_of_a_finished_training_is_refused(walk, tmp_path, file, change):
    expected = train(walk, tmp_path)
    assert_same(train(walk, tmp_path), expected)
    change(tmp_path / file)
    with pytest.raises(CheckpointError, match=r"changed or damaged.*--restart"):
        train(walk, tmp_path)


def test_second_training_in_one_folder_is_refused(walk, tmp_path):
    class Nested(TrainingCallback):
        """Starts another training in the same folder."""

        def on_step(self, step, logs):
            with pytest.raises(StorageError, match=r"is being trained by process \d+ on "):
                train(walk, tmp_path / "run", resume=False, learning_rate=1e-3)

    result = train(walk, tmp_path / "run", callbacks=(Nested(),))
    assert_same(result, train(walk, tmp_path / "alone"))


def test_frozen_parameters_are_unchanged_and_not_in_checkpoints(walk, tmp_path):
    def start(folder, callbacks=()):
        target = objective("model")
        target.network.requires_grad_(False)
        target.network.head.requires_grad_(True)
        arguments = small(log_steps=1)
        result = fit(target, *datasets(walk, arguments), arguments, folder, callbacks=callbacks)
        return target.network, result

    with pytest.raises(Interrupted):
        start(tmp_path / "ended", (Interrupter(7),))
    slot = next((tmp_path / "ended" / "resume").glob("*.safetensors"))
    assert {name.split("/")[1 if name.startswith("weights") else 2] for name in load_file(slot)} == {
        *(f"head.{name}" for name, _ in model().head.named_parameters())
    }
    network, result = start(tmp_path / "ended")
    assert_same(result, start(tmp_path / "whole")[1])
    for name, value in model().named_parameters():
        assert torch.equal(value, network.get_parameter(name)) != name.startswith("head."), name


def test_loss_that_is_not_finite_raises_and_keeps_the_last_checkpoint(walk, tmp_path):
    class DivergingObjective(ModelObjective):
        def losses(self, batch, *, training):
            losses = super().losses(batch, training=training)
            if training and int(batch.row.min()) == 7 * 8:  # of the eighth step
                losses.total.data.fill_(math.nan)
            return losses

    arguments = small(log_steps=3, checkpoint_minutes=1e-9)
    target = DivergingObjective(model(), tokenizer())
    with pytest.raises(ParameterError, match=r"at step 8 .*smaller learning_rate.*resume"):
        fit(target, *datasets(walk, arguments), arguments, tmp_path)
    state = json.loads((tmp_path / "resume" / "latest.json").read_text())
    assert state["progress"]["step"] == 7
    tensors = load_file(tmp_path / "resume" / f"{state['slot']}.safetensors")
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_time_limit_ends_the_training_and_drives_the_learning_rate(walk, tmp_path):
    recorder = Recorder()
    rates = []
    recorder.on_step = lambda step, logs: rates.append(logs["learning_rate"])
    result = train(
        walk, tmp_path, callbacks=(recorder,), epochs=10_000, minutes=0.02, log_steps=1, schedule="cosine", warmup=0.0
    )
    assert result.stopped == "minutes"
    assert rates[0] > 0.5 * small().learning_rate
    assert rates[-1] < 0.3 * small().learning_rate
    assert result.history[-1]["step"] == result.steps


class FirstOfTwo(Process):
    """The first of two processes; the other one computes the same."""

    def barrier(self):
        pass

    def all_reduce(self, values):
        return values.mul_(2)

    def broadcast(self, values):
        return values

    def average_gradients(self, parameters):
        pass


def test_several_processes_resume_with_the_same_clock(walk, tmp_path, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(trainer_module, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 100))
    schedule = {"minutes": 0.1, "epochs": 1000, "steps_per_epoch": 50, "schedule": "cosine", "warmup": 0}
    arguments = small(**schedule, log_steps=1, checkpoint_minutes=1e-9)
    rates = {}

    class RateRecorder(Interrupter):
        def on_step(self, step, logs):
            rates.setdefault(step, logs["learning_rate"])
            super().on_step(step, logs)

    for end in (45, 46):  # the clocks are synchronised at every tenth step
        parts = datasets(walk, arguments)
        trainer = Trainer(objective("model"), *parts, arguments, tmp_path, FirstOfTwo(0, 2, torch.device("cpu")))
        with pytest.raises(Interrupted):
            trainer.run((RateRecorder(end),))
    assert rates[11] > rates[45] >= rates[46]


def test_gradient_accumulation_equals_the_whole_batch(walk, tmp_path):
    whole = weights(train(walk, tmp_path / "1", options={"teacher_forcing": True}))
    parts = weights(train(walk, tmp_path / "4", accumulation_steps=4, options={"teacher_forcing": True}))
    for name, value in whole.items():
        assert torch.allclose(parts[name], value, rtol=1e-4, atol=1e-6), name


def test_global_state_is_restored(walk, tmp_path):
    arguments = small(epochs=1, threads=torch.get_num_threads() + 1, precision="bfloat16")
    target, parts = objective("model", dropout=0.2), datasets(walk, arguments)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    fit(target, *parts, arguments, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("kind", ["model", "tokenizer"])
def test_samples_with_another_normalisation_are_rejected(kind, walk, tmp_path):
    train, validation = datasets(walk, small())
    steps = replace(WINDOWS, normalisation="steps")
    train = WindowDataset(train.data, "train", steps, samples=len(train))
    with pytest.raises(ParameterError, match=r"train windows are normalised by 'steps', but .* 'spread'"):
        fit(objective(kind), train, validation, small(), tmp_path)
    other = WindowDataset(train.data, "val", steps, samples=len(validation))
    with pytest.raises(ParameterError, match=r"val windows"):
        fit(objective(kind), datasets(walk, small())[0], other, small(), tmp_path)


def test_too_few_samples_and_a_non_causal_network_are_rejected(walk, tmp_path):
    arguments = small()
    parts = datasets(walk, arguments)
    with pytest.raises(ParameterError, match="samples=4000"):
        fit(objective("model"), *parts, small(steps_per_epoch=500), tmp_path)

    class NonCausal(Kronos):
        def states(self, s1_ids, s2_ids, stamp=None, padding_mask=None):
            states = super().states(s1_ids, s2_ids, stamp, padding_mask)
            return states + states.mean(1, keepdim=True)

    target = objective("model")
    target.network.__class__ = NonCausal
    with pytest.raises(ParameterError, match="looks ahead"):
        fit(target, *parts, arguments, tmp_path)
    assert not Path(tmp_path / "best").exists()
