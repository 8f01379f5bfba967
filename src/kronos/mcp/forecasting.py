"""The work behind ``forecast``: from what a call asks to its answer, in one thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kronos.calibration import Calibration, calibrated
from kronos.candles import Candles
from kronos.evaluation.replaying import as_dict, replayed
from kronos.forecasts import BANDS, Forecast
from kronos.inference.published import check_horizon
from kronos.mcp.answers import Chance, ForecastAnswer, Making, Replay, ReplayScore, Step, number
from kronos.mcp.reading import Series, read, read_as_of

if TYPE_CHECKING:
    from kronos.inference import KronosPredictor
    from kronos.mcp.desk import Desk

Progress = Callable[[int, int], None]

LUCK = "One origin is mostly luck: it takes many to tell who is better, which the tool evaluate looks at."
_BESIDE = 600  # candles beyond the context that a symbol's history has, for baselines with longer windows


@dataclass(frozen=True, slots=True)
class Asked:
    """A call.

    Attributes:
        series: Which candles.
        horizon: Candles to forecast.
        samples: Paths.
        seed: Of the draws.
        model: A zoo name; None for the default.
        calibrated: Whether to correct the paths; None where the model has a calibration.
        as_of: The last time to be known, in a replay; None forecasts what comes now.
    """

    series: Series
    horizon: int
    samples: int
    seed: int
    model: str | None
    calibrated: bool | None
    as_of: str | None


def forecast(desk: Desk, asked: Asked, progress: Progress) -> tuple[ForecastAnswer, Forecast]:
    """Read, forecast, correct, and in a replay score.

    Args:
        desk: What there is.
        asked: What is wanted.
        progress: Called with the work done and all of it; what it raises ends the work.

    Returns:
        The answer, and the forecast behind it.

    Raises:
        KronosError: One sentence on whatever is wrong.
    """
    asked.series.check()
    predictor = desk.predictor(asked.model)
    check_horizon(asked.horizon, predictor.max_context, predictor.least_history)
    wanted = ships_calibration(predictor) if asked.calibrated is None else asked.calibrated
    corrections = predictor.calibration_for(wanted)
    records, actual = predictor.max_context + _BESIDE, None
    if asked.as_of is None:
        history = read(desk, asked.series, records)
    else:
        history, actual = read_as_of(desk, asked.series, asked.as_of, records, asked.horizon)
    raw = predictor.forecast(history, asked.horizon, samples=asked.samples, seed=asked.seed, progress=progress)
    made = raw if corrections is None else calibrated(raw, corrections)
    return _answer(made, corrections, actual, raw), made


def ships_calibration(predictor: KronosPredictor) -> bool:
    """Whether a calibration lies beside a model's weights."""
    located = predictor.model.located
    return located is not None and predictor.model.unchanged and located.calibration is not None


def findings_of(candles: Candles) -> list[str]:
    """What cleaning noticed that deserves a look."""
    return [finding.message for finding in candles.findings if finding.severity == "warning"]


def _answer(made: Forecast, corrections: Calibration | None, actual: Candles | None, raw: Forecast) -> ForecastAnswer:
    history = made.history
    chance = made.upside_probability()
    return ForecastAnswer(
        simulated=made.simulated,
        symbol=str(history.symbol),
        source=history.source,
        interval=str(history.interval),
        timezone=history.timezone,
        last_time=made.start.isoformat(),
        last_close=number(made.last_close),
        state="calibrated" if made.made.calibrated else "raw",
        steps=_steps(made, actual),
        upside_probability=Chance(value=float(chance), low=chance.low, high=chance.high, paths=chance.paths),
        value_at_risk_95=number(made.value_at_risk()),
        expected_shortfall_95=number(made.expected_shortfall()),
        notes=list(made.notes),
        findings=findings_of(history),
        replay=None if actual is None else _replay(made, actual, raw if made.made.calibrated else None),
        made=_making(made, corrections),
    )


def _steps(made: Forecast, actual: Candles | None) -> list[Step]:
    """Median and bands of each step's close, with what came."""
    columns: dict[str, Any] = {"median": made.median()["close"].to_numpy()}
    for band in BANDS:
        ends = made.range(band)
        columns |= {f"{side}_{band * 100:.0f}": ends[side].to_numpy() for side in ("low", "high")}
    if actual is not None:
        columns["actual"] = actual.frame["close"].reindex(made.timestamps).to_numpy(dtype=np.float64)
    return [
        Step(time=time.isoformat(), **{name: number(float(values[i])) for name, values in columns.items()})
        for i, time in enumerate(made.timestamps)
    ]


def _replay(made: Forecast, actual: Candles, raw: Forecast | None) -> Replay:
    """Everybody's scores at the usual steps, in one flat list."""
    told: dict[str, Any] = as_dict(*replayed(made, actual, raw))
    scores = [
        ReplayScore(
            forecaster=name,
            step=int(step),
            crps=number(row["crps_scaled"]),
            median_error=number(row["mae"]),
            inside_80=number(line["inside_80"]),
        )
        for name, line in told["scores"].items()
        for step, row in line["horizons"].items()
    ]
    return Replay(known_steps=told["known_steps"], scores=scores, remark=LUCK)


def _making(made: Forecast, corrections: Calibration | None) -> Making:
    """What makes the same forecast again, of all that is known about its making."""
    details = made.made.details
    return Making(
        model=made.made.name,
        model_sha256=details["model"].get("sha256"),
        tokenizer_sha256=details["tokenizer"].get("sha256"),
        revision=details["model"].get("revision"),
        seed=details["seed"],
        samples=details["samples"],
        history_used=details["lookback"],
        history_sha256=details["history"]["sha256"],
        calibration=corrections.describe() if corrections is not None and made.made.calibrated else None,
        calendar=made.made.calendar,
        device=details["device"],
        precision=details["precision"],
        versions=details["versions"],
        created=details["created"],
    )
