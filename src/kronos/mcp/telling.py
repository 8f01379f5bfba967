"""The answers as short texts, for assistants and people who do not read the structured ones.

Simulated data is said first; numbers are those of the structured answer.
"""

from __future__ import annotations

import math
from datetime import datetime

import numpy as np

from kronos.evaluation.replaying import horizons
from kronos.forecasts import Forecast
from kronos.mcp.answers import EvaluationAnswer, ForecastAnswer, Replay, Standing, Step

_SIMULATED = "SIMULATED: these candles never traded, so this says nothing about a market."
_DIGITS = 6


def tell_forecast(answer: ForecastAnswer, made: Forecast) -> str:
    """A forecast in a dozen lines."""
    zone = answer.timezone or "no timezone"
    lines = [_SIMULATED] if answer.simulated else []
    lines += [
        f"{answer.symbol}, {answer.interval} candles: last close {_price(answer.last_close)} at "
        f"{_time(answer.last_time)} ({zone}).",
        f"Forecast of the close, {answer.state}, {answer.made.samples} paths (the close of each step lies in its band "
        f"with that probability):",
        *(_step_line(step, answer.steps[step - 1]) for step in horizons(made)),
        f"At the last step: probability of a close above the last known one {made.upside_probability()}; value at risk "
        f"(95 %) {_percent(answer.value_at_risk_95)}, expected shortfall {_percent(answer.expected_shortfall_95)} of "
        f"the last close.",
    ]
    if answer.replay is not None:
        lines += _replay_lines(answer, answer.replay, made)
    lines += [f"Note: {note}" for note in answer.notes]
    lines += [f"In the candles: {finding}" for finding in answer.findings]
    sha = (answer.made.model_sha256 or "none")[:12]
    lines.append(f"Made by {answer.made.model} (sha256 {sha}), seed {answer.made.seed}. {answer.advice}")
    return "\n".join(lines)


def tell_evaluation(answer: EvaluationAnswer) -> str:
    """An evaluation: what was looked at, the verdicts, the table, what to know before believing it."""
    lines = [_SIMULATED] if answer.simulated else []
    lines += [
        f"{answer.model} on {answer.symbol}, {answer.interval} candles, {answer.origins} origins from "
        f"{_time(answer.first)} to {_time(answer.last)}, {answer.horizon} candles ahead, {answer.samples} paths.",
        answer.remark,
        *(f"{one.forecaster}, {one.about}: {one.sentence}." for one in answer.verdicts),
        f"Skill at step {answer.horizon} against {answer.reference} (CRPS; above 0 is better), and closes inside the "
        f"80 % band:",
        *(_standing_line(one) for one in answer.table),
        *(f"Warning: {warning}" for warning in answer.warnings),
        *(f"In the candles: {finding}" for finding in answer.findings),
        answer.advice,
    ]
    return "\n".join(lines)


def _step_line(number: int, step: Step) -> str:
    bands = "; ".join(
        f"{band} % {_price(getattr(step, f'low_{band}'))} to {_price(getattr(step, f'high_{band}'))}"
        for band in (50, 80, 95)
    )
    actual = "" if step.actual is None else f"; it was {_price(step.actual)}"
    return f"- step {number}, {_time(step.time)}: median {_price(step.median)}; {bands}{actual}"


def _replay_lines(answer: ForecastAnswer, replay: Replay, made: Forecast) -> list[str]:
    """What came, and how everybody did at the last step that is known."""
    last = max(i for i, step in enumerate(answer.steps) if step.actual is not None)
    close = answer.steps[last].actual
    assert close is not None
    below = int(np.count_nonzero(made.channel("close")[:, last] < close))
    scored = [one for one in replay.scores if one.crps is not None]
    step = max((one.step for one in scored), default=0)
    told = ", ".join(f"{one.forecaster} {one.crps:.3f}" for one in scored if one.step == step)
    return [
        f"Replay: {replay.known_steps} of {len(answer.steps)} steps are known. At step {last + 1} the close was "
        f"{_price(close)}; {below} of {made.samples} paths were below it.",
        *([f"CRPS at step {step} in units of σ√h, smaller is better: {told}."] if told else []),
        replay.remark,
    ]


def _standing_line(one: Standing) -> str:
    skill = "the reference" if one.skill is None else f"skill {_percent(one.skill)}"
    if one.skill_low is not None and one.skill_high is not None:
        skill += f" ({_percent(one.skill_low)} to {_percent(one.skill_high)})"
    inside = "a point, without a band" if one.inside_80 is None else f"{100 * one.inside_80:.0f} % inside"
    return f"- {one.forecaster}{' (baseline)' if one.baseline else ''}: {skill}; {inside}"


def _price(price: float | None) -> str:
    """A price in six digits, thousands grouped."""
    if price is None:
        return "unknown"
    decimals = max(0, _DIGITS - 1 - math.floor(math.log10(price))) if price > 0 else _DIGITS
    return f"{price:,.{min(decimals, 12)}f}"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.2f} %"


def _time(text: str) -> str:
    """A time to the minute, as its own clock shows it."""
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M}"
