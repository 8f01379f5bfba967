"""What the tools answer: the models behind their output schemas, and numbers as JSON can hold them.

Numbers keep eight digits: prices have no more, and every further one would cost an assistant's attention.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, Field

ADVICE = "This is a statistical forecast and no investment advice."


def number(value: float) -> float | None:
    """A number in eight digits; None where it is none."""
    return float(f"{value:.8g}") if math.isfinite(value) else None


class ModelFacts(BaseModel):
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


class Models(BaseModel):
    """The models there are."""

    models: list[ModelFacts]
    default: str


class CandleFile(BaseModel):
    """A file of candles."""

    file: str = Field(description="Its name, as the other tools take it.")
    bytes: int


class Files(BaseModel):
    """What can be forecast."""

    files: list[CandleFile]
    complete: bool = Field(description="Whether these are all files; false where only the first are listed.")
    source: str | None = Field(description="Where the candles of symbols come from; null if symbols mean nothing here.")
    source_simulated: bool = Field(description="Whether what the source gives may be invented.")


class Step(BaseModel):
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


class Chance(BaseModel):
    """A probability, and how sure the number of paths makes it."""

    value: float
    low: float = Field(description="Lower end of the 95 % interval that the number of paths allows.")
    high: float
    paths: int


class Making(BaseModel):
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


class Replay(BaseModel):
    """A forecast of the past beside what came."""

    known_steps: int
    scores: list[ReplayScore]
    remark: str


class ForecastAnswer(BaseModel):
    """A forecast of the close."""

    simulated: bool = Field(description="Whether the candles are invented; then nothing here is about a market.")
    symbol: str
    source: str | None
    interval: str
    timezone: str | None = Field(description="Of all times; null where the candles do not say.")
    last_time: str
    last_close: float | None
    state: Literal["raw", "calibrated"]
    steps: list[Step]
    upside_probability: Chance = Field(description="That the last close is above the last known one.")
    value_at_risk_95: float | None = Field(description="Loss to the last step not exceeded with 95 %; 0.03 is 3 %.")
    expected_shortfall_95: float | None = Field(description="Mean loss over the worst 5 % of the paths.")
    notes: list[str]
    findings: list[str] = Field(description="What was noticed and mended in the candles.")
    replay: Replay | None
    made: Making
    advice: str = ADVICE


class Standing(BaseModel):
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


class Saying(BaseModel):
    """What may be said of a forecaster."""

    forecaster: str
    about: str
    word: str
    sentence: str


class EvaluationAnswer(BaseModel):
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
    verdicts: list[Saying]
    table: list[Standing]
    warnings: list[str]
    findings: list[str]
    model_sha256: str | None
    versions: dict[str, str]
    advice: str = ADVICE
