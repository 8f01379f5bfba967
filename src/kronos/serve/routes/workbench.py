"""The workbench API: data files and uploads, models, forecasts of files, saved results."""

from __future__ import annotations

import asyncio
import io
import tempfile
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Path, Query, Request, Response, UploadFile
from pydantic import BaseModel

from kronos.candles import Candles
from kronos.errors import DeviceError
from kronos.forecasts import Forecast
from kronos.sandbox import Upload
from kronos.serve.errors import ApiError
from kronos.serve.jobs import Job
from kronos.serve.model_pool import ModelKey, available_models, display_name, resolve_model
from kronos.serve.routes.common import client_of, errors, run_in_pool, run_reader, until_disconnect
from kronos.serve.routes.jobs import JobResponse, job_response
from kronos.serve.schemas import (
    CurrentModel,
    DataFile,
    DataInfo,
    FileRequest,
    LoadDataResponse,
    LoadModelRequest,
    LoadModelResponse,
    ModelsResponse,
    ModelStatus,
    PredictRequest,
    PredictResponse,
    UploadInfo,
    UploadResponse,
)
from kronos.serve.state import AppState
from kronos.serve.workbench import data_info, forecast_window, select_window

ResultId = Annotated[str, Path(max_length=60, examples=["prediction_20261121_221500"])]
Format = Literal["csv", "parquet", "png", "json", "npz"]
_MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "png": "image/png",
    "json": "application/json",
    "npz": "application/octet-stream",
}
_LOAD_MODEL_WORK = 50_000  # path-steps charged for loading a model


class ResultResponse(BaseModel):
    """A saved result."""

    id: str
    created: str
    size: int


class ResultsResponse(BaseModel):
    """All saved results, the newest first."""

    results: list[ResultResponse]
    count: int


def result_routes(state: AppState) -> APIRouter:
    """Build the routes of saved results."""
    router = APIRouter(prefix="/api/results", tags=["Results"])

    @router.get("", responses=errors())
    async def results() -> ResultsResponse:
        """List saved results."""
        saved = await run_in_pool(state, state.results.latest)
        listed = [ResultResponse(id=result.id, created=result.created, size=result.size) for result in saved]
        return ResultsResponse(results=listed, count=len(listed))

    @router.get("/{result_id}", response_model=PredictResponse, responses=errors(404))
    async def result(result_id: ResultId) -> Response:
        """Return a saved result."""
        return Response(await run_in_pool(state, state.results.document, result_id), media_type="application/json")

    @router.get("/{result_id}/export", response_class=Response, responses=errors(404))
    async def export(
        result_id: ResultId, kind: Annotated[Format, Query(alias="format", description="File format.")] = "csv"
    ) -> Response:
        """Export a result: a table of averages and bands (csv, parquet), all paths (npz), a chart, or the document."""
        body = await run_in_pool(state, _export, state, result_id, kind)
        disposition = f'attachment; filename="{result_id}.{kind}"'
        return Response(body, media_type=_MEDIA_TYPES[kind], headers={"Content-Disposition": disposition})

    @router.delete("/{result_id}", status_code=204, responses=errors(404))
    async def delete(result_id: ResultId) -> None:
        """Delete a result."""
        await run_in_pool(state, state.results.delete, result_id)

    return router


def _export(state: AppState, result_id: str, kind: Format) -> bytes:
    if kind == "json":
        return state.results.document(result_id)
    forecast = state.results.forecast(result_id)
    if kind == "csv":
        return forecast.to_frame().to_csv(lineterminator="\n").encode()
    if kind == "parquet":
        table = io.BytesIO()
        forecast.to_frame().to_parquet(table)
        return table.getvalue()
    return _export_file(forecast, kind)


def _export_file(forecast: Forecast, kind: Format) -> bytes:
    with tempfile.TemporaryDirectory(prefix="kronos-export-") as folder:
        target = FilePath(folder) / f"export.{kind}"
        if kind == "png":
            forecast.plot(path=target)
        else:
            forecast.save(target)
        return target.read_bytes()


def _current_model(state: AppState, key: ModelKey) -> CurrentModel | None:
    predictor = state.models.loaded(key)
    if predictor is None:
        return None
    name = display_name(key.ref)
    return CurrentModel(
        name=name,
        key=name,
        device=str(predictor.device),
        context_length=predictor.max_context,
        least_history=predictor.least_history,
        precision=predictor.precision,
    )


def _loaded_message(model: CurrentModel) -> str:
    return f"{model.name} is loaded on {model.device}."


async def _read_file(state: AppState, request: Request, body: FileRequest) -> Candles:
    return await run_reader(
        state, client_of(request), lambda charge: state.library.candles(body.file_path, body.options, charge)
    )


async def _load_model(state: AppState, body: LoadModelRequest) -> dict[str, Any]:
    """Load a model and select it for the workbench."""
    key = resolve_model(state.settings, body.model_key, body.device)
    try:
        await asyncio.wrap_future(state.loader.submit(state.models.retry, key))
    except DeviceError as error:  # the client chose the device
        raise ApiError(400, str(error)) from error
    state.models.selected = key  # not before: a request that has timed out does not change the model
    model = _current_model(state, key)
    assert model is not None
    return {"success": True, "message": _loaded_message(model), "model_info": model.model_dump()}


async def _predict_file(state: AppState, body: PredictRequest, candles: Candles, job: Job | None) -> dict[str, Any]:
    """Forecast a file, and report the progress to a job."""
    loop = asyncio.get_running_loop()
    options = body.forecast_options

    def report(share: float) -> None:
        if job is not None:
            loop.call_soon_threadsafe(job.report, 0.95 * share, "sampling")

    return await forecast_window(state, select_window(candles, options), options, state.models.selected, report)


def workbench_routes(state: AppState) -> APIRouter:
    """Build the routes of files, models and forecasts."""
    router = APIRouter(prefix="/api", tags=["Workbench"])
    limit = state.work_limit

    @router.get("/data-files", responses=errors())
    async def data_files() -> list[DataFile]:
        """List the files in the data folder."""
        files = await run_in_pool(state, state.library.files)
        return [DataFile(name=file.name, path=file.path, size=file.size, modified=file.modified) for file in files]

    @router.post("/load-data", response_model=LoadDataResponse, responses=errors(404, 408, 413, 507))
    async def load_data(request: Request, body: FileRequest) -> dict[str, Any]:
        """Read a file and describe its content, with problems that were found or repaired."""
        candles = await _read_file(state, request, body)
        info = data_info(candles)
        return {"success": True, "data_info": info, "message": f"Read {len(candles):,} candles of {candles.interval}."}

    @router.get("/uploads", responses=errors())
    async def uploads() -> list[UploadInfo]:
        """List the uploads."""
        return [_upload_info(upload) for upload in await run_in_pool(state, state.library.uploads)]

    @router.post("/uploads", status_code=201, responses=errors(408, 413, 507))
    async def upload(
        request: Request, file: Annotated[UploadFile, File(description="CSV, Feather or Parquet.")]
    ) -> UploadResponse:
        """Upload a file; it is stored if it can be read."""
        client, name = client_of(request), file.filename or "upload.csv"
        stored = await run_reader(state, client, lambda charge: state.library.add(file.file, name, spent=charge))
        candles = await run_reader(state, client, lambda charge: state.library.candles(stored.reference, spent=charge))
        return UploadResponse(**_upload_info(stored).model_dump(), data_info=DataInfo(**data_info(candles)))

    @router.delete("/uploads/{upload_id}", status_code=204, responses=errors(404, 507))
    async def remove(upload_id: Annotated[str, Path(max_length=100)]) -> None:
        """Delete an upload."""
        await run_in_pool(state, state.library.remove, upload_id)

    @router.get("/available-models", responses=errors())
    async def list_models() -> ModelsResponse:
        """List the models that can be loaded."""
        return ModelsResponse(models=await run_in_pool(state, available_models, state.settings), model_available=True)

    @router.get("/model-status", responses=errors())
    async def model_status() -> ModelStatus:
        """Show the model of the workbench."""
        model = _current_model(state, state.models.selected)
        message = "No model is loaded yet." if model is None else _loaded_message(model)
        return ModelStatus(available=True, loaded=model is not None, message=message, current_model=model)

    @router.post("/load-model", response_model=LoadModelResponse, responses=errors(408, 413))
    async def load(request: Request, body: LoadModelRequest) -> dict[str, Any]:
        """Load a model; the previous one stays if that fails. Use a job for a large download."""
        _charge_model_load(state, request, body)
        return await asyncio.wait_for(_load_model(state, body), state.serve.timeout)

    @router.post("/predict", response_model=PredictResponse, responses=errors(404, 408, 413, 507))
    async def predict(request: Request, body: PredictRequest) -> dict[str, Any]:
        """Forecast the latest candles of a file, or replay a past window and compare; the result is saved.

        Use a job if this takes longer than the request timeout.
        """
        candles = await _read_file(state, request, body)
        limit.debit(client_of(request), body.work)
        return await until_disconnect(request, _predict_file(state, body, candles, None), state.serve.timeout)

    @router.post(
        "/jobs/predict",
        status_code=202,
        response_model=JobResponse,
        tags=["Jobs"],
        responses=errors(404, 408, 413, 507),
    )
    async def predict_job(request: Request, body: PredictRequest) -> dict[str, Any]:
        """Start a forecast as a job; its result is the response of ``POST /api/predict``."""
        candles = await _read_file(state, request, body)
        limit.debit(client_of(request), body.work)
        return job_response(state, state.jobs.start("predict", lambda job: _predict_file(state, body, candles, job)))

    @router.post(
        "/jobs/load-model", status_code=202, response_model=JobResponse, tags=["Jobs"], responses=errors(408, 413)
    )
    async def load_job(request: Request, body: LoadModelRequest) -> dict[str, Any]:
        """Load a model as a job; its result is the response of ``POST /api/load-model``."""
        _charge_model_load(state, request, body)

        async def load(job: Job) -> dict[str, Any]:
            job.report(0.0, "loading")
            return await _load_model(state, body)

        return job_response(state, state.jobs.start("load-model", load))

    return router


def _charge_model_load(state: AppState, request: Request, body: LoadModelRequest) -> None:
    """Check the model's name, and charge the client for loading it."""
    resolve_model(state.settings, body.model_key, body.device)
    state.work_limit.check(client_of(request))
    state.work_limit.debit(client_of(request), _LOAD_MODEL_WORK)


def _upload_info(upload: Upload) -> UploadInfo:
    return UploadInfo(
        id=upload.id, file_path=upload.reference, name=upload.name, size=upload.size, uploaded=upload.uploaded
    )
