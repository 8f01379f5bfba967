"""Rates follow what they are named after, whatever the length of a training."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kronos.errors import ParameterError
from kronos.training.config import TrainingArguments
from kronos.training.optimization import first_beta, learning_rate


@pytest.mark.parametrize("steps", [2, 7, 40, 333, 2000])
def test_one_cycle_is_torchs(steps):
    settings = TrainingArguments.of("model", {"learning_rate": 0.01})
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1, betas=(0.9, 0.95))
    published = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, steps, pct_start=0.03, div_factor=10)
    for step in range(steps):
        progress = step / (steps - 1)
        [group] = optimizer.param_groups
        assert learning_rate(settings, progress, steps) == pytest.approx(group["lr"], rel=1e-6, abs=1e-12)
        assert first_beta(settings, progress, steps) == pytest.approx(group["betas"][0], rel=1e-6)
        optimizer.step()
        if step < steps - 1:
            published.step()


def test_the_cosine_rises_then_falls_to_its_end():
    settings = TrainingArguments.of("model", {"schedule": "cosine", "learning_rate": 0.5, "warmup": 0.1, "final": 0.02})
    rates = [learning_rate(settings, step / 100, 101) for step in range(101)]
    assert rates[0] == pytest.approx(0.05)
    assert rates[10] == max(rates) == pytest.approx(0.5)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.01)


@given(
    st.sampled_from(["onecycle", "cosine", "constant"]),
    st.floats(0, 1),
    st.integers(1, 10_000),
    st.floats(0, 0.9),
)
def test_no_rate_is_beyond_the_peak_or_below_nothing(schedule, progress, steps, warmup):
    settings = TrainingArguments.of("tokenizer", {"schedule": schedule, "warmup": warmup})
    assert 0 <= learning_rate(settings, progress, steps) <= settings.learning_rate * (1 + 1e-12)
    assert 0 <= first_beta(settings, progress, steps) < 1


def test_settings_are_the_published_ones_and_changes_are_checked():
    assert TrainingArguments.of("tokenizer").betas == (0.9, 0.999)
    assert TrainingArguments.of("model").learning_rate == 4e-5
    assert TrainingArguments.of("model", {"epochs": 3}).epochs == 3
    with pytest.raises(ParameterError, match="did you mean 'learning_rate'"):
        TrainingArguments.of("model", {"learning_rat": 1e-3}, "mine.yaml")
    with pytest.raises(ParameterError, match="epochs"):
        TrainingArguments.of("model", {"epochs": 0})
    with pytest.raises(ParameterError, match="no multiple of 3"):
        TrainingArguments.of("model", {"accumulation_steps": 3})
    with pytest.raises(ParameterError, match="stage"):
        TrainingArguments.of("head")  # type: ignore[arg-type]


def test_an_epoch_is_one_pass_but_not_a_long_one():
    settings = TrainingArguments.of("model")
    assert [settings.steps(n) for n in (10, 50, 149, 10**7)] == [1, 1, 2, 2000]
    assert TrainingArguments.of("model", {"steps_per_epoch": 7}).samples(10) == 350
