"""The workbench API: data files and uploads, models, forecasts of them now or as jobs."""

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
from kronos.serve.errors import ApiError
from kronos.serve.jobs import Job
from kronos.serve.model_pool import ModelKey, named, offered, title_of
from kronos.serve.routes.common import client_of, errors, reading, run_in_pool, until_disconnect
from kronos.serve.routes.jobs import JobResponse, job_body
from kronos.serve.routes.schemas import (
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
from kronos.serve.workbench import data_info, forecast, window

ResultId = Annotated[str, Path(max_length=60, examples=["prediction_20261121_221500"])]
Format = Literal["csv", "parquet", "png", "json", "npz"]
_TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "png": "image/png",
    "json": "application/json",
    "npz": "application/octet-stream",
}


class ResultResponse(BaseModel):
    """A saved result."""

    id: str
    created: str
    size: int


class ResultsResponse(BaseModel):
    """All of them, the latest first."""

    results: list[ResultResponse]
    count: int


def result_routes(state: AppState) -> APIRouter:
    """The routes of one server."""
    router = APIRouter(prefix="/api/results", tags=["Results"])

    @router.get("", responses=errors())
    async def results() -> ResultsResponse:
        """List saved results."""
        found = await run_in_pool(state, state.results.latest)
        return ResultsResponse(
            results=[ResultResponse(id=one.id, created=one.created, size=one.size) for one in found], count=len(found)
        )

    @router.get("/{result_id}", response_model=PredictResponse, responses=errors(404))
    async def result(result_id: ResultId) -> Response:
        """Reopen a result, as it was answered."""
        return Response(await run_in_pool(state, state.results.document, result_id), media_type="application/json")

    @router.get("/{result_id}/export", response_class=Response, responses=errors(404))
    async def export(
        result_id: ResultId, kind: Annotated[Format, Query(alias="format", description="Of the file.")] = "csv"
    ) -> Response:
        """Give a result as a file: a table of averages and bands, every path (npz), a picture, or the document."""
        body = await run_in_pool(state, _export, state, result_id, kind)
        disposition = f'attachment; filename="{result_id}.{kind}"'
        return Response(body, media_type=_TYPES[kind], headers={"Content-Disposition": disposition})

    @router.delete("/{result_id}", status_code=204, responses=errors(404))
    async def delete(result_id: ResultId) -> None:
        """Forget a result."""
        await run_in_pool(state, state.results.delete, result_id)

    return router


def _export(state: AppState, name: str, kind: Format) -> bytes:
    if kind == "json":
        return state.results.document(name)
    forecast = state.results.forecast(name)
    if kind == "csv":
        return forecast.to_frame().to_csv(lineterminator="\n").encode()
    if kind == "parquet":
        table = io.BytesIO()
        forecast.to_frame().to_parquet(table)
        return table.getvalue()
    return _file(forecast, kind)


def _file(forecast: Forecast, kind: Format) -> bytes:
    with tempfile.TemporaryDirectory(prefix="kronos-export-") as folder:
        target = FilePath(folder) / f"export.{kind}"
        if kind == "png":
            forecast.plot(path=target)
        else:
            forecast.save(target)
        return target.read_bytes()


_LOADING = 50_000  # path-steps' worth of work that loading a model stands for


def current_model(state: AppState, key: ModelKey) -> CurrentModel | None:
    """A model that is in memory, as clients see it."""
    predictor = state.models.loaded(key)
    if predictor is None:
        return None
    title = title_of(key.ref)
    return CurrentModel(
        name=title,
        key=title,
        device=str(predictor.device),
        context_length=predictor.max_context,
        least_history=predictor.least_history,
        precision=predictor.precision,
    )


async def read(state: AppState, request: Request, body: FileRequest) -> Candles:
    """A file's candles; counted as work of whoever asks."""
    return await reading(
        state, client_of(request), lambda spent: state.library.candles(body.file_path, body.options, spent)
    )


async def load_model(state: AppState, body: LoadModelRequest) -> dict[str, Any]:
    """Load a model for the workbench."""
    key = named(state.settings, body.model_key, body.device)
    try:
        await asyncio.wrap_future(state.loader.submit(state.models.anew, key))
    except DeviceError as error:  # of the client's choice
        raise ApiError(400, str(error)) from error
    state.models.chosen = key  # only now: whoever gave up waiting changes nothing for others
    info = current_model(state, key)
    assert info is not None
    return {"success": True, "message": f"{info.name} is loaded on {info.device}.", "model_info": info.model_dump()}


async def predict_file(state: AppState, body: PredictRequest, candles: Candles, job: Job | None) -> dict[str, Any]:
    """Forecast a file's window, and tell a job how far it is."""
    loop = asyncio.get_running_loop()
    wanted = body.wanted

    def listener(share: float) -> None:
        if job is not None:
            loop.call_soon_threadsafe(job.tell, 0.95 * share, "sampling")

    return await forecast(state, window(candles, wanted), wanted, state.models.chosen, listener)


def workbench_routes(state: AppState) -> APIRouter:
    """The routes of one server."""
    router = APIRouter(prefix="/api", tags=["Workbench"])
    work = state.rules.work

    @router.get("/data-files", responses=errors())
    async def data_files() -> list[DataFile]:
        """List the data folder's files."""
        files = await run_in_pool(state, state.library.files)
        return [DataFile(name=one.name, path=one.path, size=one.size, modified=one.modified) for one in files]

    @router.post("/load-data", response_model=LoadDataResponse, responses=errors(404, 408, 413, 507))
    async def load_data(request: Request, body: FileRequest) -> dict[str, Any]:
        """Read a file and say what it holds, and what had to be mended."""
        candles = await read(state, request, body)
        info = data_info(candles)
        return {"success": True, "data_info": info, "message": f"Read {len(candles):,} candles of {candles.interval}."}

    @router.get("/uploads", responses=errors())
    async def uploads() -> list[UploadInfo]:
        """List the uploads."""
        found = await run_in_pool(state, state.library.uploads)
        return [_upload(one) for one in found]

    @router.post("/uploads", status_code=201, responses=errors(408, 413, 507))
    async def upload(
        request: Request, file: Annotated[UploadFile, File(description="CSV, Feather or Parquet.")]
    ) -> UploadResponse:
        """Hand over a file; it is read at once, and kept if that succeeds."""
        client, name = client_of(request), file.filename or "upload.csv"
        kept = await reading(state, client, lambda spent: state.library.add(file.file, name, spent=spent))
        candles = await reading(state, client, lambda spent: state.library.candles(kept.reference, spent=spent))
        return UploadResponse(**_upload(kept).model_dump(), data_info=DataInfo(**data_info(candles)))

    @router.delete("/uploads/{upload_id}", status_code=204, responses=errors(404, 507))
    async def remove(upload_id: Annotated[str, Path(max_length=100)]) -> None:
        """Forget an upload."""
        await run_in_pool(state, state.library.remove, upload_id)

    @router.get("/available-models", responses=errors())
    async def available_models() -> ModelsResponse:
        """List the models that can be loaded."""
        return ModelsResponse(models=await run_in_pool(state, offered, state.settings), model_available=True)

    @router.get("/model-status", responses=errors())
    async def model_status() -> ModelStatus:
        """Say which model the workbench uses."""
        info = current_model(state, state.models.chosen)
        message = "No model is loaded yet." if info is None else f"{info.name} is loaded on {info.device}."
        return ModelStatus(available=True, loaded=info is not None, message=message, current_model=info)

    @router.post("/load-model", response_model=LoadModelResponse, responses=errors(408, 413))
    async def load(request: Request, body: LoadModelRequest) -> dict[str, Any]:
        """Load a model; the one before stays in use if that fails. Large downloads are better done as a job."""
        named(state.settings, body.model_key, body.device)
        work.check(client_of(request))
        work.debit(client_of(request), _LOADING)
        return await asyncio.wait_for(load_model(state, body), state.serve.timeout)

    @router.post("/predict", response_model=PredictResponse, responses=errors(404, 408, 413, 507))
    async def predict(request: Request, body: PredictRequest) -> dict[str, Any]:
        """Forecast a file's latest candles, or replay a past window and compare; the result is saved.

        What takes longer than a request may take is better done as a job.
        """
        candles = await read(state, request, body)
        work.debit(client_of(request), body.work)
        return await until_disconnect(request, predict_file(state, body, candles, None), state.serve.timeout)

    @router.post(
        "/jobs/predict",
        status_code=202,
        response_model=JobResponse,
        tags=["Jobs"],
        responses=errors(404, 408, 413, 507),
    )
    async def predict_job(request: Request, body: PredictRequest) -> dict[str, Any]:
        """Start a forecast as a job; its result is what ``POST /api/predict`` answers."""
        candles = await read(state, request, body)
        work.debit(client_of(request), body.work)
        return job_body(state, state.jobs.start("predict", lambda job: predict_file(state, body, candles, job)))

    @router.post(
        "/jobs/load-model", status_code=202, response_model=JobResponse, tags=["Jobs"], responses=errors(408, 413)
    )
    async def load_job(request: Request, body: LoadModelRequest) -> dict[str, Any]:
        """Start to load a model as a job; its result is what ``POST /api/load-model`` answers."""
        named(state.settings, body.model_key, body.device)
        work.check(client_of(request))
        work.debit(client_of(request), _LOADING)

        async def loading(job: Job) -> dict[str, Any]:
            job.tell(0.0, "loading")
            return await load_model(state, body)

        return job_body(state, state.jobs.start("load-model", loading))

    return router


def _upload(one: Any) -> UploadInfo:
    return UploadInfo(id=one.id, file_path=one.reference, name=one.name, size=one.size, uploaded=one.uploaded)
