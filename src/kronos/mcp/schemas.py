"""What the tools answer: the models behind their output schemas, and numbers as JSON can hold them.

Numbers keep eight digits: prices have no more, and every further one would cost an assistant's attention.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from kronos.evaluation.replay import horizons
from kronos.forecasts import Forecast

ADVICE = "This is a statistical forecast and no investment advice."


def number(value: float) -> float | None:
    """A number in eight digits; None where it is none."""
    return float(f"{value:.8g}") if math.isfinite(value) else None


class ModelInfo(BaseModel):
    """One model."""

    name: str
    default: bool = Field(description="Whether it is used where a call names none.")
    here: bool = Field(description="Whether it can be used now; others have to be downloaded by a person first.")
    status: Literal["bundled", "here", "to download", "not published"]
    parameters: int | None
    context: int | None = Field(description="Candles of history and horizon together, at most.")
    least_history: int | None = Field(description="Candles of history it needs; null where that is not known.")
    licence: str | None
    calibration: bool = Field(description="Whether a calibration ships with it.")


class ModelList(BaseModel):
    """The models there are."""

    models: list[ModelInfo]
    default: str


class CandleFile(BaseModel):
    """A file of candles."""

    file: str = Field(description="Its name, as the other tools take it.")
    bytes: int


class FileList(BaseModel):
    """What can be forecast."""

    files: list[CandleFile]
    complete: bool = Field(description="Whether these are all files; false where only the first are listed.")
    source: str | None = Field(description="Where the candles of symbols come from; null if symbols mean nothing here.")
    source_simulated: bool = Field(description="Whether what the source gives may be invented.")


class ForecastStep(BaseModel):
    """The close of one future candle."""

    time: str
    median: float | None
    low_50: float | None
    high_50: float | None
    low_80: float | None
    high_80: float | None
    low_95: float | None
    high_95: float | None
    actual: float | None = Field(None, description="In a replay: what the close was.")


class ProbabilityRow(BaseModel):
    """A probability, and how sure the number of paths makes it."""

    value: float
    low: float = Field(description="Lower end of the 95 % interval that the number of paths allows.")
    high: float
    paths: int


class ForecastProvenance(BaseModel):
    """What makes the same forecast again."""

    model: str
    model_sha256: str | None
    tokenizer_sha256: str | None
    revision: str | None
    seed: int
    samples: int
    history_used: int = Field(description="Candles of history that the model saw.")
    history_sha256: str
    calibration: str | None = Field(description="What the calibration says of itself; null of raw forecasts.")
    calendar: str
    device: str
    precision: str
    versions: dict[str, str]
    created: str


class ReplayScore(BaseModel):
    """How one forecaster did at one step of a replay."""

    forecaster: str
    step: int
    crps: float | None = Field(description="In units of σ√h, smaller is better.")
    median_error: float | None = Field(description="Absolute error of the median, in log returns.")
    inside_80: float | None = Field(description="Share of all known closes within its 80 % band.")


class ReplayResult(BaseModel):
    """A forecast of the past beside what came."""

    known_steps: int
    scores: list[ReplayScore]
    remark: str


class ForecastResponse(BaseModel):
    """A forecast of the close."""

    simulated: bool = Field(description="Whether the candles are invented; then nothing here is about a market.")
    symbol: str
    source: str | None
    interval: str
    timezone: str | None = Field(description="Of all times; null where the candles do not say.")
    last_time: str
    last_close: float | None
    state: Literal["raw", "calibrated"]
    steps: list[ForecastStep]
    upside_probability: ProbabilityRow = Field(description="That the last close is above the last known one.")
    value_at_risk_95: float | None = Field(description="Loss to the last step not exceeded with 95 %; 0.03 is 3 %.")
    expected_shortfall_95: float | None = Field(description="Mean loss over the worst 5 % of the paths.")
    notes: list[str]
    findings: list[str] = Field(description="What was noticed and mended in the candles.")
    replay: ReplayResult | None
    made: ForecastProvenance
    advice: str = ADVICE


class SkillRow(BaseModel):
    """One forecaster in an evaluation, at the furthest step."""

    forecaster: str
    baseline: bool
    forecasts: int
    crps: float | None = Field(description="In units of σ√h, smaller is better.")
    skill: float | None = Field(description="1 - CRPS / CRPS of the reference; above 0 is better than it.")
    skill_low: float | None = Field(description="Lower end of the 95 % interval.")
    skill_high: float | None
    hit_rate: float | None = Field(description="Share of right directions.")
    inside_80: float | None = Field(description="Share of closes within the 80 % band; 0.8 is right.")


class VerdictRow(BaseModel):
    """What may be said of a forecaster."""

    forecaster: str
    about: str
    word: str
    sentence: str


class EvaluationResponse(BaseModel):
    """A model beside the baselines, at past origins."""

    simulated: bool
    symbol: str
    interval: str
    model: str
    reference: str
    origins: int
    horizon: int
    samples: int
    first: str
    last: str
    remark: str = Field(description="How little was looked at, and what that can show.")
    verdicts: list[VerdictRow]
    table: list[SkillRow]
    warnings: list[str]
    findings: list[str]
    model_sha256: str | None
    versions: dict[str, str]
    advice: str = ADVICE


_SIMULATED = "SIMULATED: these candles never traded, so this says nothing about a market."
_DIGITS = 6


def format_forecast(answer: ForecastResponse, made: Forecast) -> str:
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


def format_evaluation(answer: EvaluationResponse) -> str:
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


def _step_line(number: int, step: ForecastStep) -> str:
    bands = "; ".join(
        f"{band} % {_price(getattr(step, f'low_{band}'))} to {_price(getattr(step, f'high_{band}'))}"
        for band in (50, 80, 95)
    )
    actual = "" if step.actual is None else f"; it was {_price(step.actual)}"
    return f"- step {number}, {_time(step.time)}: median {_price(step.median)}; {bands}{actual}"


def _replay_lines(answer: ForecastResponse, replay: ReplayResult, made: Forecast) -> list[str]:
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


def _standing_line(one: SkillRow) -> str:
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
