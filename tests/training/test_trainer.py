"""A training learns, keeps the best, ends when it should, and goes on exactly where it was ended."""

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
from kronos.errors import CheckpointError, ParameterError
from kronos.nn import Kronos
from kronos.training import Process, TrainingCallback, TrainResult, fit
from kronos.training import trainer as loop
from kronos.training.objectives import ModelObjective
from kronos.training.trainer import Trainer
from training.runs import WINDOWS, datasets, model, objective, small, tokenizer, train


def weights(fitted: TrainResult) -> dict[str, torch.Tensor]:
    return load_file(fitted.folder / "model.safetensors")


def assert_same(got: TrainResult, want: TrainResult) -> None:
    """The same weights, and the same figures, to the bit."""
    kept, expected = weights(got), weights(want)
    assert kept.keys() == expected.keys()
    assert all(torch.equal(kept[name], expected[name]) for name in kept)
    without = [[{k: v for k, v in one.items() if k != "seconds"} for one in fitted.history] for fitted in (got, want)]
    assert without[0] == without[1]
    assert (got.best_epoch, got.best, got.steps, got.stopped) == (want.best_epoch, want.best, want.steps, want.stopped)


class Listener(TrainingCallback):
    """Keeps what it is told."""

    def __init__(self):
        self.told = []

    def on_start(self, plan):
        json.dumps(plan, allow_nan=False)
        self.told.append(("start", plan["step"]))

    def on_step(self, step, logs):
        assert all(math.isfinite(one) for one in logs.values())
        self.told.append(("step", step))

    def on_epoch_end(self, epoch, logs):
        self.told.append(("epoch", epoch, logs["step"]))

    def save_checkpoint(self, path, *, best):
        assert path.exists()
        self.told.append(("best" if best else "state", path.name))

    def on_end(self, fitted):
        self.told.append(("end", fitted.stopped))


class Interrupted(BaseException):
    """As Ctrl-C is."""


class Interrupter(TrainingCallback):
    def __init__(self, step):
        self.step = step

    def on_step(self, step, logs):
        if step == self.step:
            raise Interrupted


def test_a_training_learns_keeps_the_best_and_tells(walk, tmp_path):
    listener = Listener()
    fitted = train(walk, tmp_path, monitors=(listener,), epochs=3, log_steps=2)
    losses = [one["validation_loss"] for one in fitted.history]
    assert losses[-1] < losses[0] - 0.2
    assert fitted.best == min(losses) == losses[fitted.best_epoch]
    assert (fitted.epochs, fitted.steps, fitted.stopped) == (3, 15, "finished")
    loaded = Kronos.from_pretrained(fitted.folder)
    assert not loaded.training
    assert listener.told[:5] == [
        ("start", 0),
        ("epoch", 0, 0),
        ("state", "a.safetensors"),
        ("best", "best"),
        ("step", 2),
    ]
    assert [one[1] for one in listener.told if one[0] == "step"] == [2, 4, 5, 6, 8, 10, 12, 14, 15]
    assert listener.told[-1] == ("end", "finished")
    assert not list((tmp_path / "resume").glob("*.safetensors"))
    again = Listener()
    assert train(walk, tmp_path, monitors=(again,), epochs=3, log_steps=2) == fitted
    assert again.told == []


def test_the_network_has_the_best_weights_afterwards(walk, tmp_path):
    wanted = small(epochs=1)
    made = objective("model")
    fitted = fit(made, *datasets(walk, wanted), wanted, tmp_path)
    assert all(torch.equal(value, weights(fitted)[name]) for name, value in made.network.state_dict().items())
    assert not made.network.training


def test_a_tokenizer_learns_and_says_how_its_codes_are_used(walk, tmp_path):
    fitted = train(walk, tmp_path, "tokenizer", epochs=2)
    first, last = fitted.history[0], fitted.history[-1]
    assert last["validation_full"] < first["validation_full"]
    assert 0 < last["validation_codes_used_s1"] <= 1
    assert 1 <= last["validation_perplexity_s1"] <= 16


def test_fine_tuning_that_never_helps_gives_the_start_back(walk, tmp_path):
    fitted = train(walk, tmp_path, learning_rate=0.9, schedule="constant", gradient_clip=None, patience=2, epochs=9)
    assert (fitted.best_epoch, fitted.epochs, fitted.stopped) == (0, 2, "patience")
    assert all(torch.equal(value, weights(fitted)[name]) for name, value in model().state_dict().items())


def test_averaged_weights_are_what_is_saved_and_validated(walk, tmp_path):
    plain = train(walk, tmp_path / "plain")
    averaged = train(walk, tmp_path / "averaged", ema=0.9)
    assert plain.history[-1]["train_loss"] == averaged.history[-1]["train_loss"]  # the same steps
    assert plain.history[-1]["validation_loss"] != averaged.history[-1]["validation_loss"]
    words = tokenizer()
    network = Kronos.from_pretrained(averaged.folder)
    made = ModelObjective(network, words)
    wanted = small()
    _, validation = datasets(walk, wanted)
    whole = collate([validation[index] for index in range(len(validation))])
    with torch.no_grad():
        assert float(made.per_sample(whole).mean()) == pytest.approx(averaged.best, rel=1e-6)


OPTIONS = [
    {"dropout": 0.3, "kind": "model"},
    {"dropout": 0.3, "kind": "tokenizer", "ema": 0.9, "accumulation_steps": 2},
]


@pytest.mark.slow
@pytest.mark.parametrize("told", OPTIONS, ids=["model", "tokenizer"])
def test_interrupted_anywhere_it_ends_with_the_same_weights(told, walk, tmp_path_factory):
    told = dict(told)
    options = {"options": {"dropout": told.pop("dropout")}, "log_steps": 1, **told}
    want = train(walk, tmp_path_factory.mktemp("whole"), **options)

    @settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.integers(1, 10), max_size=2), st.sampled_from([1e-9, 60.0]))
    def interrupted(steps, minutes):
        folder = tmp_path_factory.mktemp("ended")
        for step in steps:
            with suppress(Interrupted):
                train(walk, folder, monitors=(Interrupter(step),), checkpoint_minutes=minutes, **options)
        assert_same(train(walk, folder, checkpoint_minutes=minutes, **options), want)

    interrupted()


def test_it_goes_on_with_nothing_else(walk, tmp_path):
    def start(**changes):
        return train(walk, tmp_path, **{"monitors": (Interrupter(7),), "log_steps": 1, **changes})

    with pytest.raises(Interrupted):
        start()
    for changes, what in (
        ({"learning_rate": 1e-3}, "learning_rate"),
        ({"epochs": 5}, "epochs"),
        ({"options": {"loss_on": "window"}}, "loss_on"),
        ({"kind": "tokenizer"}, "(objective|network)"),
    ):
        with pytest.raises(ParameterError, match=f"another .*{what}"):
            start(**changes)
    started = small()
    parts = datasets(walk, started)
    with pytest.raises(ParameterError, match=r"network\.start"):
        fit(ModelObjective(model(seed=9), tokenizer()), *parts, started, tmp_path)
    with pytest.raises(ParameterError, match=r"objective\.tokenizer"):
        fit(ModelObjective(model(), tokenizer(seed=9)), *parts, started, tmp_path)
    data, samples = parts[0].data, started.samples(1)
    other = WindowDataset(data, "train", WINDOWS, samples=samples, seed=7)
    with pytest.raises(ParameterError, match=r"data\.training"):
        fit(objective("model"), other, parts[1], started, tmp_path)
    # None of the samples that are looked at loses its volume or is mirrored by these, but others may.
    for changes in ({"without_volume": 0.06}, {"mirrored": 0.01}, {"weighting": "equal"}):
        other = WindowDataset(data, "train", replace(WINDOWS, **changes), samples=samples)
        with pytest.raises(ParameterError, match=rf"data\.windows\.{next(iter(changes))}"):
            fit(objective("model"), other, parts[1], started, tmp_path)
    assert start(monitors=(), log_steps=3).stopped == "finished"
    assert start(monitors=(), learning_rate=1e-3, resume=False).stopped == "finished"


def test_a_damaged_state_is_passed_over_for_the_one_before(walk, tmp_path):
    want = train(walk, tmp_path / "whole", log_steps=1)
    folder = tmp_path / "ended"
    with pytest.raises(Interrupted):
        train(walk, folder, monitors=(Interrupter(8),), log_steps=1, checkpoint_minutes=1e-9)
    latest = json.loads((folder / "resume" / "latest.json").read_text())["slot"]
    path = folder / "resume" / f"{latest}.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    listener = Listener()
    assert_same(train(walk, folder, monitors=(listener,), log_steps=1), want)
    assert listener.told[0] == ("start", 6)
    with pytest.raises(Interrupted):
        train(walk, folder, monitors=(Interrupter(8),), log_steps=1, resume=False)
    for path in (folder / "resume").glob("*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="begin anew"):
        train(walk, folder)


def test_frozen_parameters_stay_and_are_not_in_the_state(walk, tmp_path):
    def start(folder, monitors=()):
        made = objective("model")
        made.network.requires_grad_(False)
        made.network.head.requires_grad_(True)
        wanted = small(log_steps=1)
        fitted = fit(made, *datasets(walk, wanted), wanted, folder, monitors=monitors)
        return made.network, fitted

    with pytest.raises(Interrupted):
        start(tmp_path / "ended", (Interrupter(7),))
    slot = next((tmp_path / "ended" / "resume").glob("*.safetensors"))
    assert {name.split("/")[1 if name.startswith("weights") else 2] for name in load_file(slot)} == {
        *(f"head.{name}" for name, _ in model().head.named_parameters())
    }
    network, fitted = start(tmp_path / "ended")
    assert_same(fitted, start(tmp_path / "whole")[1])
    for name, value in model().named_parameters():
        assert torch.equal(value, network.get_parameter(name)) != name.startswith("head."), name


def test_a_loss_that_is_no_number_stops_it_and_the_last_state_stays(walk, tmp_path):
    class Broken(ModelObjective):
        def losses(self, batch, *, training):
            made = super().losses(batch, training=training)
            if training and int(batch.row.min()) == 7 * 8:  # of the eighth step
                made.total.data.fill_(math.nan)
            return made

    wanted = small(log_steps=3, checkpoint_minutes=1e-9)
    made = Broken(model(), tokenizer())
    with pytest.raises(ParameterError, match=r"at step 8 .*smaller learning_rate.*resume"):
        fit(made, *datasets(walk, wanted), wanted, tmp_path)
    state = json.loads((tmp_path / "resume" / "latest.json").read_text())
    assert state["progress"]["step"] == 7
    assert all(one.isfinite().all() for one in load_file(tmp_path / "resume" / f"{state['slot']}.safetensors").values())


def test_minutes_end_a_training_and_its_rate_follows_the_clock(walk, tmp_path):
    listener = Listener()
    rates = []
    listener.on_step = lambda step, logs: rates.append(logs["learning_rate"])
    fitted = train(
        walk, tmp_path, monitors=(listener,), epochs=10_000, minutes=0.02, log_steps=1, schedule="cosine", warmup=0.0
    )
    assert fitted.stopped == "minutes"
    assert rates[0] > 0.5 * small().learning_rate
    assert rates[-1] < 0.3 * small().learning_rate
    assert fitted.history[-1]["step"] == fitted.steps


class OneOfTwo(Process):
    """The first of two processes, the other of which does as it does."""

    def wait(self):
        pass

    def add_up(self, values):
        return values.mul_(2)

    def from_first(self, values):
        return values

    def average_gradients(self, parameters):
        pass


def test_several_processes_go_on_at_the_time_where_they_were(walk, tmp_path, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 100))
    wanted = small(minutes=0.1, epochs=1000, steps_per_epoch=50, schedule="cosine", warmup=0, log_steps=1,
                   checkpoint_minutes=1e-9)  # fmt: skip
    rates = {}

    class Listening(Interrupter):
        def on_step(self, step, logs):
            rates.setdefault(step, logs["learning_rate"])
            super().on_step(step, logs)

    for end in (45, 46):  # the time is agreed on at every tenth step
        parts = datasets(walk, wanted)
        trainer = Trainer(objective("model"), *parts, wanted, tmp_path, OneOfTwo(0, 2, torch.device("cpu")))
        with pytest.raises(Interrupted):
            trainer.run((Listening(end),))
    assert rates[11] > rates[45] >= rates[46]


def test_micro_batches_add_up_to_the_batch(walk, tmp_path):
    whole = weights(train(walk, tmp_path / "1", options={"teacher_forcing": True}))
    parts = weights(train(walk, tmp_path / "4", accumulation_steps=4, options={"teacher_forcing": True}))
    for name, value in whole.items():
        assert torch.allclose(parts[name], value, rtol=1e-4, atol=1e-6), name


def test_nothing_global_is_left_behind(walk, tmp_path):
    wanted = small(epochs=1, threads=torch.get_num_threads() + 1, precision="bfloat16")
    made, parts = objective("model", dropout=0.2), datasets(walk, wanted)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    fit(made, *parts, wanted, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("kind", ["model", "tokenizer"])
def test_samples_that_the_tokenizer_does_not_know_are_refused(kind, walk, tmp_path):
    train, validation = datasets(walk, small())
    steps = replace(WINDOWS, normalisation="steps")
    train = WindowDataset(train.data, "train", steps, samples=len(train))
    with pytest.raises(ParameterError, match=r"train windows are normalised by 'steps', but .* 'spread'"):
        fit(objective(kind), train, validation, small(), tmp_path)
    other = WindowDataset(train.data, "val", steps, samples=len(validation))
    with pytest.raises(ParameterError, match=r"val windows"):
        fit(objective(kind), datasets(walk, small())[0], other, small(), tmp_path)


def test_too_few_samples_and_a_leaking_network_are_refused(walk, tmp_path):
    wanted = small()
    parts = datasets(walk, wanted)
    with pytest.raises(ParameterError, match="samples=4000"):
        fit(objective("model"), *parts, small(steps_per_epoch=500), tmp_path)

    class Leaking(Kronos):
        def states(self, s1_ids, s2_ids, stamp=None, padding_mask=None):
            states = super().states(s1_ids, s2_ids, stamp, padding_mask)
            return states + states.mean(1, keepdim=True)

    made = objective("model")
    made.network.__class__ = Leaking
    with pytest.raises(ParameterError, match="look ahead"):
        fit(made, *parts, wanted, tmp_path)
    assert not Path(tmp_path / "best").exists()
