"""Results of the tools: models for their output schemas, and their texts.

Numbers have eight significant digits: prices have no more, and each further one costs the assistant tokens.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from kronos.evaluation.replay import replay_steps
from kronos.forecasts import Forecast
from kronos.formatting import short_count

ADVICE = "This is a statistical forecast, not investment advice."
_SIMULATED = "SIMULATED: these candles never traded, so this does not describe a market."
_PRICE_DIGITS = 6


# Arguments of the tools that messages of the package name in the words of Python, as in ``timezone=``.
_NAMES = "interval|timezone|calendar|columns|decimal|thousands|date_format|header"
_OPTION_AND_NAME = re.compile(rf"--[a-z-]+( \S+)? \(({_NAMES})=[^()]* in Python\)")
_NAME = re.compile(rf"\b({_NAMES})=(?=(\S?))")


def protocol_words(text: str) -> str:
    """Return a message with the arguments of the tools instead of options and Python's arguments.

    ``--timezone Asia/Tokyo (timezone= in Python)`` becomes ``timezone Asia/Tokyo``, ``pass interval=, or`` becomes
    ``pass interval, or``, and ``interval=5m contradicts`` becomes ``interval 5m contradicts``.
    """
    text = _OPTION_AND_NAME.sub(lambda found: f"{found[2]}{found[1] or ''}", text)
    text = text.replace("thousands=''", "thousands=none")  # empty arguments are absent
    return _NAME.sub(lambda found: found[1] + (" " if found[2] and found[2] not in ",.;:)" else ""), text)


def json_number(value: float) -> float | None:
    """Round a number to eight significant digits; None if it is not finite."""
    return float(f"{value:.8g}") if math.isfinite(value) else None


class ToolResponse(BaseModel):
    """What the answers of all tools have in common."""

    ignored: list[str] = Field(
        default_factory=list, description="Arguments of the call that the tool does not have; possibly misspelt."
    )


class ModelInfo(BaseModel):
    """A model."""

    name: str
    default: bool = Field(description="Whether calls without a model use it.")
    here: bool = Field(description="Whether it can be used now; the user has to download other models.")
    status: Literal["bundled", "here", "to download", "not published"]
    parameters: int | None
    context: int | None = Field(description="Largest number of candles of history and horizon together.")
    least_history: int | None = Field(description="Candles of history that it needs; null if unknown.")
    licence: str | None
    calibration: bool = Field(description="Whether a calibration ships with it.")


class ModelList(ToolResponse):
    """All models."""

    models: list[ModelInfo]
    default: str


class CandleFile(BaseModel):
    """A file of candles."""

    file: str = Field(description="Name for the other tools.")
    bytes: int


class FileList(ToolResponse):
    """The available candles."""

    files: list[CandleFile]
    offset: int = Field(description="Files before these.")
    total: int = Field(description="Files in the data folder.")
    left: int = Field(description="Files after these; call again with a larger offset.")
    complete: bool = Field(description="Whether no files are left.")
    source: str | None = Field(description="Source of symbols' candles; null if symbols are not available.")
    source_simulated: bool = Field(description="Whether the source may have simulated candles.")


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
    actual: float | None = Field(None, description="Actual close, in a replay.")


class ProbabilityRow(BaseModel):
    """A probability with its sampling error."""

    value: float
    low: float = Field(description="Lower end of the 95 % interval for this number of paths.")
    high: float
    paths: int


class ForecastProvenance(BaseModel):
    """What is needed to reproduce the forecast."""

    model: str
    model_sha256: str | None
    tokenizer_sha256: str | None
    revision: str | None
    seed: int
    samples: int
    history_used: int = Field(description="Candles of history that the model used.")
    history_sha256: str
    calibration: str | None = Field(description="Description of the calibration; null for raw forecasts.")
    calendar: str
    device: str
    precision: str
    versions: dict[str, str]
    created: str


class ContenderScore(BaseModel):
    """Score of one forecaster at one step of a replay."""

    forecaster: str
    step: int
    crps: float | None = Field(description="In units of σ√h; smaller is better.")
    median_error: float | None = Field(description="Absolute error of the median, in log returns.")
    inside_80: float | None = Field(description="Share of the known closes inside the 80 % band.")


class ReplayResult(BaseModel):
    """A forecast of the past, compared with the actual candles."""

    known_steps: int
    scores: list[ContenderScore]
    remark: str


class ForecastResponse(ToolResponse):
    """A forecast of the close."""

    simulated: bool = Field(description="Whether the candles are simulated: then this does not describe a market.")
    symbol: str
    source: str | None
    interval: str
    timezone: str | None = Field(description="Timezone of all times; null if unknown.")
    last_time: str
    last_close: float | None
    state: Literal["raw", "calibrated"]
    steps: list[ForecastStep]
    upside_probability: ProbabilityRow = Field(
        description="Probability that the final close exceeds the last known one."
    )
    value_at_risk_95: float | None = Field(description="Loss at the last step not exceeded with 95 %; 0.03 is 3 %.")
    expected_shortfall_95: float | None = Field(description="Mean loss over the worst 5 % of the paths.")
    notes: list[str]
    repaired: str = Field(
        description="Share of the sampled candles that had to be made valid candles, and why; empty if none."
    )
    findings: list[str] = Field(description="Problems in the candles, possibly repaired.")
    replay: ReplayResult | None
    made: ForecastProvenance
    advice: str = ADVICE


class SkillRow(BaseModel):
    """Scores of one forecaster at the last step of an evaluation."""

    forecaster: str
    baseline: bool
    forecasts: int
    crps: float | None = Field(description="In units of σ√h; smaller is better.")
    skill: float | None = Field(description="1 - CRPS / CRPS of the reference; above 0 is better than the reference.")
    skill_low: float | None = Field(description="Lower end of the 95 % interval.")
    skill_high: float | None
    hit_rate: float | None = Field(description="Share of correct directions.")
    inside_80: float | None = Field(description="Share of closes inside the 80 % band; 0.8 is ideal.")


class VerdictRow(BaseModel):
    """A verdict on a forecaster."""

    forecaster: str
    about: str
    word: str
    sentence: str


class EvaluationResponse(ToolResponse):
    """A comparison of a model with baselines at past origins."""

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
    remark: str = Field(description="Size of the evaluation, and what it can show.")
    verdicts: list[VerdictRow]
    table: list[SkillRow]
    warnings: list[str]
    findings: list[str]
    model_sha256: str | None
    versions: dict[str, str]
    advice: str = ADVICE


def format_models(models: ModelList) -> str:
    """Format a list of models, one per line."""
    lines = []
    for model in models.models:
        size = "" if model.parameters is None else f", {short_count(model.parameters)} parameters"
        history = "" if model.least_history is None else f", needs {model.least_history} candles of history"
        default = " (default)" if model.default else ""
        lines.append(
            f"- {model.name}{default}: {model.status}{size}, context {model.context}{history}, licence {model.licence}"
        )
    return "\n".join(lines)


def format_candles(listing: FileList) -> str:
    """Format a list of files, one per line, and the source."""
    lines = [f"- {file.file} ({max(1, file.bytes >> 10):,} KiB)" for file in listing.files]
    if not listing.total:
        lines = ["There are no candle files in the data folder."]
    elif not listing.files:
        lines = [f"There are no files after offset {listing.offset:,}; the data folder has {listing.total:,}."]
    elif listing.left or listing.offset:
        last = listing.offset + len(listing.files)
        more = f"{listing.left:,} are left: call list_candles with offset {last}" if listing.left else "none are left"
        lines.append(f"These are files {listing.offset + 1:,} to {last:,} of {listing.total:,}; {more}.")
    if listing.source is None:
        lines.append("No source of symbols is configured.")
    else:
        lines.append(f"Source of symbols: {listing.source}{' (may be SIMULATED)' if listing.source_simulated else ''}.")
    return "\n".join(lines)


def format_forecast(response: ForecastResponse, forecast: Forecast) -> str:
    """Format a forecast in a dozen lines."""
    zone = response.timezone or "no timezone"
    lines = [_SIMULATED] if response.simulated else []
    lines += [
        f"{response.symbol}, {response.interval} candles: last close {_price(response.last_close)} at "
        f"{_minute(response.last_time)} ({zone}).",
        f"Forecast of the close, {response.state}, {response.made.samples} paths (median, and bands that contain the "
        f"close with the given probability):",
        *(_step_line(step, response.steps[step - 1]) for step in replay_steps(forecast)),
        f"At the last step: probability of a close above the last known one {forecast.upside_probability()}; value at "
        f"risk (95 %) {_percent(response.value_at_risk_95)}, expected shortfall "
        f"{_percent(response.expected_shortfall_95)} of the last close.",
    ]
    if response.replay is not None:
        lines += _replay_lines(response, response.replay, forecast)
    lines += [f"Note: {note}" for note in response.notes]
    lines += [f"Repaired: {response.repaired}."] if response.repaired else []
    lines += [f"Candles: {finding}" for finding in response.findings]
    sha = (response.made.model_sha256 or "none")[:12]
    lines.append(f"Model: {response.made.model} (sha256 {sha}), seed {response.made.seed}. {response.advice}")
    return "\n".join(lines)


def format_evaluation(response: EvaluationResponse) -> str:
    """Format an evaluation: its size, the verdicts, the table, and the warnings."""
    lines = [_SIMULATED] if response.simulated else []
    lines += [
        f"{response.model} on {response.symbol}, {response.interval} candles, {response.origins} origins from "
        f"{_minute(response.first)} to {_minute(response.last)}, {response.horizon} candles ahead, "
        f"{response.samples} paths.",
        response.remark,
        *(f"{verdict.forecaster}, {verdict.about}: {verdict.sentence}." for verdict in response.verdicts),
        f"Skill at step {response.horizon} relative to {response.reference} (CRPS; above 0 is better), and closes "
        f"inside the 80 % band:",
        *map(_skill_line, response.table),
        *(f"Warning: {warning}" for warning in response.warnings),
        *(f"Candles: {finding}" for finding in response.findings),
        response.advice,
    ]
    return "\n".join(lines)


def _step_line(number: int, step: ForecastStep) -> str:
    bands = "; ".join(
        f"{band} % {_price(getattr(step, f'low_{band}'))} to {_price(getattr(step, f'high_{band}'))}"
        for band in (50, 80, 95)
    )
    actual = "" if step.actual is None else f"; actual {_price(step.actual)}"
    return f"- step {number}, {_minute(step.time)}: median {_price(step.median)}; {bands}{actual}"


def _replay_lines(response: ForecastResponse, replay: ReplayResult, forecast: Forecast) -> list[str]:
    last = max(i for i, step in enumerate(response.steps) if step.actual is not None)
    close = response.steps[last].actual
    assert close is not None
    below = int(np.count_nonzero(forecast.channel("close")[:, last] < close))
    scored = [score for score in replay.scores if score.crps is not None]
    step = max((score.step for score in scored), default=0)
    scores = ", ".join(f"{score.forecaster} {score.crps:.3f}" for score in scored if score.step == step)
    return [
        f"Replay: {replay.known_steps} of {len(response.steps)} steps are known. At step {last + 1} the close was "
        f"{_price(close)}; {below} of {forecast.samples} paths were below it.",
        *([f"CRPS at step {step} in units of σ√h, smaller is better: {scores}."] if scores else []),
        replay.remark,
    ]


def _skill_line(row: SkillRow) -> str:
    skill = "the reference" if row.skill is None else f"skill {_percent(row.skill)}"
    if row.skill_low is not None and row.skill_high is not None:
        skill += f" ({_percent(row.skill_low)} to {_percent(row.skill_high)})"
    inside = "a point forecast without a band" if row.inside_80 is None else f"{100 * row.inside_80:.0f} % inside"
    return f"- {row.forecaster}{' (baseline)' if row.baseline else ''}: {skill}; {inside}"


def _price(price: float | None) -> str:
    """A price with six significant digits and grouped thousands."""
    if price is None:
        return "unknown"
    decimals = max(0, _PRICE_DIGITS - 1 - math.floor(math.log10(price))) if price > 0 else _PRICE_DIGITS
    return f"{price:,.{min(decimals, 12)}f}"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.2f} %"


def _minute(time: str) -> str:
    return f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M}"
