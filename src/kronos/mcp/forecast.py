"""The ``forecast``, ``list_models`` and ``list_candles`` tools."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kronos.calibration import Calibration, calibrate_forecast
from kronos.candles import Candles
from kronos.errors import CheckpointError
from kronos.evaluation.replay import replay_to_dict, score_replay
from kronos.forecasts import BANDS, Forecast
from kronos.inference.engine import check_horizon
from kronos.mcp.context import SeriesArgs, read_as_of, read_candles
from kronos.mcp.responses import (
    CandleFile,
    ContenderScore,
    FileList,
    ForecastProvenance,
    ForecastResponse,
    ForecastStep,
    ModelInfo,
    ModelList,
    ProbabilityRow,
    ReplayResult,
    json_number,
    protocol_words,
)
from kronos.progress import ProgressCallback
from kronos.zoo import (
    CatalogEntry,
    CheckpointRef,
    find_cached,
    find_entry,
    list_checkpoints,
    read_pairing,
    resolve_checkpoint,
)

if TYPE_CHECKING:
    from kronos.mcp.context import ServerContext

ModelStatus = Literal["bundled", "here", "to download", "not published"]
REPLAY_REMARK = "The result at a single origin is mostly luck; the evaluate tool compares forecasters at many."
_EXTRA_HISTORY = 600  # candles of a symbol beyond the context, for baselines with longer windows
_PAGE = 200  # files in one answer
_MAX_FILES = 50_000


@dataclass(frozen=True, slots=True)
class ForecastToolArgs:
    """Arguments of a call.

    Attributes:
        series: Which candles.
        horizon: Candles to forecast.
        samples: Sample paths.
        seed: Random seed.
        model: Name of the model; None for the default.
        calibrated: Whether to calibrate the paths; None if the model has a calibration.
        as_of: Last time of the history, in a replay; None to forecast the future.
    """

    series: SeriesArgs
    horizon: int
    samples: int
    seed: int
    model: str | None
    calibrated: bool | None
    as_of: str | None


def forecast(
    context: ServerContext, args: ForecastToolArgs, progress: ProgressCallback
) -> tuple[ForecastResponse, Forecast]:
    """Forecast a series; in a replay, also score the forecast.

    Args:
        context: Files, source and models.
        args: Arguments of the call.
        progress: Called with the completed and the total work; may raise to cancel.

    Returns:
        The response, and the forecast in it.

    Raises:
        KronosError: If an argument is invalid, or the candles or the model cannot be loaded.
    """
    args.series.check()
    predictor = context.predictor(args.model)
    check_horizon(args.horizon, predictor.max_context, predictor.least_history)
    calibration = predictor.calibration_for(args.calibrated)
    records, actual = predictor.max_context + _EXTRA_HISTORY, None
    if args.as_of is None:
        history = read_candles(context, args.series, records)
    else:
        history, actual = read_as_of(context, args.series, args.as_of, records, args.horizon)
    choice = args.calibrated if calibration is None else False  # applied below: a replay scores both
    raw = predictor.forecast(
        history, args.horizon, samples=args.samples, seed=args.seed, calibration=choice, progress=progress
    )
    result = raw if calibration is None else calibrate_forecast(raw, calibration)
    return _response(result, calibration, actual, raw), result


def warnings_of(candles: Candles) -> list[str]:
    """Return the findings of severity ``warning``."""
    return [protocol_words(finding.message) for finding in candles.findings if finding.severity == "warning"]


def _response(
    forecast: Forecast, calibration: Calibration | None, actual: Candles | None, raw: Forecast
) -> ForecastResponse:
    history, metadata = forecast.history, forecast.metadata
    upside = forecast.upside_probability()
    return ForecastResponse(
        simulated=forecast.simulated,
        symbol=str(history.symbol),
        source=history.source,
        interval=str(history.interval),
        timezone=history.timezone,
        last_time=forecast.start.isoformat(),
        last_close=json_number(forecast.last_close),
        state="calibrated" if metadata.calibrated else "raw",
        steps=_steps(forecast, actual),
        upside_probability=ProbabilityRow(value=float(upside), low=upside.low, high=upside.high, paths=upside.paths),
        value_at_risk_95=json_number(forecast.value_at_risk()),
        expected_shortfall_95=json_number(forecast.expected_shortfall()),
        notes=[protocol_words(note) for note in forecast.notes],
        repaired=forecast.describe_repairs(),
        findings=warnings_of(history),
        replay=None if actual is None else _replay(forecast, actual, raw if metadata.calibrated else None),
        made=_provenance(forecast, calibration),
    )


def _steps(forecast: Forecast, actual: Candles | None) -> list[ForecastStep]:
    columns: dict[str, Any] = {"median": forecast.median()["close"].to_numpy()}
    for band in BANDS:
        ends = forecast.range(band)
        columns |= {f"{side}_{band * 100:.0f}": ends[side].to_numpy() for side in ("low", "high")}
    if actual is not None:
        columns["actual"] = actual.frame["close"].reindex(forecast.timestamps).to_numpy(dtype=np.float64)
    return [
        ForecastStep(time=time.isoformat(), **{name: json_number(float(column[i])) for name, column in columns.items()})
        for i, time in enumerate(forecast.timestamps)
    ]


def _replay(forecast: Forecast, actual: Candles, raw: Forecast | None) -> ReplayResult:
    replay: dict[str, Any] = replay_to_dict(*score_replay(forecast, actual, raw))
    scores = [
        ContenderScore(
            forecaster=name,
            step=int(step),
            crps=json_number(row["crps_scaled"]),
            median_error=json_number(row["mae"]),
            inside_80=json_number(score["inside_80"]),
        )
        for name, score in replay["scores"].items()
        for step, row in score["horizons"].items()
    ]
    return ReplayResult(known_steps=replay["known_steps"], scores=scores, remark=REPLAY_REMARK)


def _provenance(forecast: Forecast, calibration: Calibration | None) -> ForecastProvenance:
    details = forecast.metadata.details
    calibrated = calibration is not None and forecast.metadata.calibrated
    return ForecastProvenance(
        model=forecast.metadata.name,
        model_sha256=details["model"].get("sha256"),
        tokenizer_sha256=details["tokenizer"].get("sha256"),
        revision=details["model"].get("revision"),
        seed=details["seed"],
        samples=details["samples"],
        history_used=details["lookback"],
        history_sha256=details["history"]["sha256"],
        calibration=calibration.describe() if calibration is not None and calibrated else None,
        calendar=forecast.metadata.calendar,
        device=details["device"],
        precision=details["precision"],
        versions=details["versions"],
        created=details["created"],
    )


def list_models(context: ServerContext) -> ModelList:
    """Return all models of the catalogue, and the default model if it is not one of them."""
    models = [_catalogue_model(entry, context.title) for entry in list_checkpoints() if entry.kind == "model"]
    if not any(model.default for model in models):
        located = resolve_checkpoint(context.default, kind="model", local_files_only=True)
        models.insert(0, _model_info(context.title, None, located, "here", read_pairing(located).context, default=True))
    return ModelList(models=models, default=context.title)


def list_candles(context: ServerContext, offset: int = 0) -> FileList:
    """Return a page of the files in the data folder, and the source of symbols.

    Args:
        context: Files and source.
        offset: Files to skip, in the order of their names.
    """
    found = context.library.files(_MAX_FILES)
    files = [CandleFile(file=file.path, bytes=file.size) for file in found[offset : offset + _PAGE]]
    left = max(0, len(found) - offset - len(files))
    configured = context.settings.source is not None
    return FileList(
        files=files,
        offset=offset,
        total=len(found),
        left=left,
        complete=left == 0,
        source=context.source.name if configured else None,
        source_simulated=configured and context.source.simulated,
    )


def _catalogue_model(entry: CatalogEntry, default: str) -> ModelInfo:
    tokenizer = find_entry(entry.tokenizer) if entry.tokenizer else None
    located = None
    if find_cached(entry) is not None and (tokenizer is None or find_cached(tokenizer) is not None):
        with suppress(CheckpointError):  # damaged files
            located = resolve_checkpoint(entry.name, kind="model", local_files_only=True)
    status: ModelStatus = "to download"
    if located is not None:
        status = "bundled" if entry.bundled else "here"
    elif not entry.published:
        status = "not published"
    return _model_info(entry.name, entry, located, status, entry.context, default=entry.name == default)


def _model_info(
    name: str,
    entry: CatalogEntry | None,
    located: CheckpointRef | None,
    status: ModelStatus,
    context: int | None,
    *,
    default: bool,
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
