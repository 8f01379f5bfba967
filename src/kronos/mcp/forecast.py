"""The work behind ``forecast``: from what a call asks to its answer, in one thread."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kronos.calibration import Calibration, calibrate_forecast
from kronos.candles import Candles
from kronos.errors import CheckpointError
from kronos.evaluation.replay import as_dict, score_replay
from kronos.forecasts import BANDS, Forecast
from kronos.inference.engine import check_horizon
from kronos.mcp.context import SeriesArgs, read, read_as_of
from kronos.mcp.schemas import (
    CandleFile,
    FileList,
    ForecastProvenance,
    ForecastResponse,
    ForecastStep,
    ModelInfo,
    ModelList,
    ProbabilityRow,
    ReplayResult,
    ReplayScore,
    number,
)
from kronos.progress import ProgressCallback
from kronos.zoo import CatalogEntry, CheckpointRef, cached, find, list_checkpoints, read_pairing, resolve_checkpoint

if TYPE_CHECKING:
    from kronos.inference import KronosPredictor
    from kronos.mcp.context import ServerContext

LUCK = "One origin is mostly luck: it takes many to tell who is better, which the tool evaluate looks at."
_BESIDE = 600  # candles beyond the context that a symbol's history has, for baselines with longer windows


@dataclass(frozen=True, slots=True)
class ForecastArgs:
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

    series: SeriesArgs
    horizon: int
    samples: int
    seed: int
    model: str | None
    calibrated: bool | None
    as_of: str | None


def forecast(desk: ServerContext, asked: ForecastArgs, progress: ProgressCallback) -> tuple[ForecastResponse, Forecast]:
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
    made = raw if corrections is None else calibrate_forecast(raw, corrections)
    return _answer(made, corrections, actual, raw), made


def ships_calibration(predictor: KronosPredictor) -> bool:
    """Whether a calibration lies beside a model's weights."""
    located = predictor.model.located
    return located is not None and predictor.model.unchanged and located.calibration is not None


def findings_of(candles: Candles) -> list[str]:
    """What cleaning noticed that deserves a look."""
    return [finding.message for finding in candles.findings if finding.severity == "warning"]


def _answer(made: Forecast, corrections: Calibration | None, actual: Candles | None, raw: Forecast) -> ForecastResponse:
    history = made.history
    chance = made.upside_probability()
    return ForecastResponse(
        simulated=made.simulated,
        symbol=str(history.symbol),
        source=history.source,
        interval=str(history.interval),
        timezone=history.timezone,
        last_time=made.start.isoformat(),
        last_close=number(made.last_close),
        state="calibrated" if made.metadata.calibrated else "raw",
        steps=_steps(made, actual),
        upside_probability=ProbabilityRow(value=float(chance), low=chance.low, high=chance.high, paths=chance.paths),
        value_at_risk_95=number(made.value_at_risk()),
        expected_shortfall_95=number(made.expected_shortfall()),
        notes=list(made.notes),
        findings=findings_of(history),
        replay=None if actual is None else _replay(made, actual, raw if made.metadata.calibrated else None),
        made=_making(made, corrections),
    )


def _steps(made: Forecast, actual: Candles | None) -> list[ForecastStep]:
    """Median and bands of each step's close, with what came."""
    columns: dict[str, Any] = {"median": made.median()["close"].to_numpy()}
    for band in BANDS:
        ends = made.range(band)
        columns |= {f"{side}_{band * 100:.0f}": ends[side].to_numpy() for side in ("low", "high")}
    if actual is not None:
        columns["actual"] = actual.frame["close"].reindex(made.timestamps).to_numpy(dtype=np.float64)
    return [
        ForecastStep(time=time.isoformat(), **{name: number(float(values[i])) for name, values in columns.items()})
        for i, time in enumerate(made.timestamps)
    ]


def _replay(made: Forecast, actual: Candles, raw: Forecast | None) -> ReplayResult:
    """Everybody's scores at the usual steps, in one flat list."""
    told: dict[str, Any] = as_dict(*score_replay(made, actual, raw))
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
    return ReplayResult(known_steps=told["known_steps"], scores=scores, remark=LUCK)


def _making(made: Forecast, corrections: Calibration | None) -> ForecastProvenance:
    """What makes the same forecast again, of all that is known about its making."""
    details = made.metadata.details
    return ForecastProvenance(
        model=made.metadata.name,
        model_sha256=details["model"].get("sha256"),
        tokenizer_sha256=details["tokenizer"].get("sha256"),
        revision=details["model"].get("revision"),
        seed=details["seed"],
        samples=details["samples"],
        history_used=details["lookback"],
        history_sha256=details["history"]["sha256"],
        calibration=corrections.describe() if corrections is not None and made.metadata.calibrated else None,
        calendar=made.metadata.calendar,
        device=details["device"],
        precision=details["precision"],
        versions=details["versions"],
        created=details["created"],
    )


_MOST = 200  # files listed


def list_models(desk: ServerContext) -> ModelList:
    """Every model that has a name, and the default first where it has none of these."""
    facts = [_named(entry, entry.name == desk.title) for entry in list_checkpoints() if entry.kind == "model"]
    if not any(one.default for one in facts):
        located = resolve_checkpoint(desk.default, kind="model", local_files_only=True)
        pairing = read_pairing(located)
        facts.insert(0, _facts(desk.title, None, located, "here", True, pairing.context))
    return ModelList(models=facts, default=desk.title)


def format_models(models: ModelList) -> str:
    """One line a model."""
    lines = []
    for one in models.models:
        size = "" if one.parameters is None else f", {one.parameters / 1e6:.3g} M parameters"
        least = "" if one.least_history is None else f", needs {one.least_history} candles of history"
        used = " (used where a call names none)" if one.default else ""
        lines.append(f"- {one.name}{used}: {one.status}{size}, context {one.context}{least}, licence {one.licence}")
    return "\n".join(lines)


def list_candles(desk: ServerContext) -> FileList:
    """The files in the data folder, and the source of symbols."""
    files = [CandleFile(file=one.path, bytes=one.size) for one in desk.library.files(_MOST)]
    configured = desk.settings.source is not None
    return FileList(
        files=files,
        complete=len(files) < _MOST,
        source=desk.source.name if configured else None,
        source_simulated=configured and desk.source.simulated,
    )


def format_candles(found: FileList) -> str:
    """One line a file."""
    lines = [f"- {one.file} ({max(1, one.bytes >> 10):,} KiB)" for one in found.files]
    lines = lines or ["There are no candle files in the data folder."]
    if not found.complete:
        lines.append(f"These are the first {len(found.files)}; there may be more.")
    simulated = ", whose candles may be SIMULATED" if found.source_simulated else ""
    lines.append(f"Symbols come from {found.source}{simulated}." if found.source else "No source of symbols is set.")
    return "\n".join(lines)


def _named(entry: CatalogEntry, default: bool) -> ModelInfo:
    """A model of the catalogue; one whose tokenizer is missing is not here."""
    partner = find(entry.tokenizer) if entry.tokenizer else None
    located = None
    if cached(entry) is not None and (partner is None or cached(partner) is not None):
        with suppress(CheckpointError):  # what is damaged is not here
            located = resolve_checkpoint(entry.name, kind="model", local_files_only=True)
    status: Literal["bundled", "here", "to download", "not published"] = "to download"
    if located is not None:
        status = "bundled" if entry.bundled else "here"
    elif not entry.published:
        status = "not published"
    return _facts(entry.name, entry, located, status, default, entry.context)


def _facts(
    name: str,
    entry: CatalogEntry | None,
    located: CheckpointRef | None,
    status: Literal["bundled", "here", "to download", "not published"],
    default: bool,
    context: int | None,
) -> ModelInfo:
    return ModelInfo(
        name=name,
        default=default,
        here=located is not None,
        status=status,
        parameters=entry.parameters if entry else None,
        context=context,
        least_history=None if located is None else read_pairing(located).least_history,
        licence=entry.licence if entry else None,
        calibration=located is not None and located.calibration is not None,
    )
