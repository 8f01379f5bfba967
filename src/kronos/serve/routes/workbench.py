"""The workbench API: data files and uploads, models, forecasts of them now or as jobs."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, File, Path, Request, UploadFile

from kronos.candles import Candles
from kronos.errors import DeviceError
from kronos.serve.computing.jobs import Job
from kronos.serve.computing.models import ModelKey, named, offered, title_of
from kronos.serve.faults import ApiError
from kronos.serve.routes.bodies import (
    CurrentModel,
    DataFile,
    DataInfo,
    FileBody,
    LoadDataAnswer,
    LoadModelAnswer,
    LoadModelBody,
    ModelsAnswer,
    ModelStatus,
    PredictAnswer,
    PredictBody,
    UploadAnswer,
    UploadBody,
)
from kronos.serve.routes.jobs import JobBody, job_body
from kronos.serve.routes.shared import client_of, errors, in_pool, reading, while_wanted
from kronos.serve.state import State
from kronos.serve.workbench import data_info, forecast, window

_LOADING = 50_000  # path-steps' worth of work that loading a model stands for


def current_model(state: State, key: ModelKey) -> CurrentModel | None:
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


async def read(state: State, request: Request, body: FileBody) -> Candles:
    """A file's candles; counted as work of whoever asks."""
    return await reading(
        state, client_of(request), lambda spent: state.library.candles(body.file_path, body.options, spent)
    )


async def load_model(state: State, body: LoadModelBody) -> dict[str, Any]:
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


async def predict_file(state: State, body: PredictBody, candles: Candles, job: Job | None) -> dict[str, Any]:
    """Forecast a file's window, and tell a job how far it is."""
    loop = asyncio.get_running_loop()
    wanted = body.wanted

    def listener(share: float) -> None:
        if job is not None:
            loop.call_soon_threadsafe(job.tell, 0.95 * share, "sampling")

    return await forecast(state, window(candles, wanted), wanted, state.models.chosen, listener)


def workbench_routes(state: State) -> APIRouter:
    """The routes of one server."""
    router = APIRouter(prefix="/api", tags=["Workbench"])
    work = state.rules.work

    @router.get("/data-files", responses=errors())
    async def data_files() -> list[DataFile]:
        """List the data folder's files."""
        files = await in_pool(state, state.library.files)
        return [DataFile(name=one.name, path=one.path, size=one.size, modified=one.modified) for one in files]

    @router.post("/load-data", response_model=LoadDataAnswer, responses=errors(404, 408, 413, 507))
    async def load_data(request: Request, body: FileBody) -> dict[str, Any]:
        """Read a file and say what it holds, and what had to be mended."""
        candles = await read(state, request, body)
        info = data_info(candles)
        return {"success": True, "data_info": info, "message": f"Read {len(candles):,} candles of {candles.interval}."}

    @router.get("/uploads", responses=errors())
    async def uploads() -> list[UploadBody]:
        """List the uploads."""
        found = await in_pool(state, state.library.uploads)
        return [_upload(one) for one in found]

    @router.post("/uploads", status_code=201, responses=errors(408, 413, 507))
    async def upload(
        request: Request, file: Annotated[UploadFile, File(description="CSV, Feather or Parquet.")]
    ) -> UploadAnswer:
        """Hand over a file; it is read at once, and kept if that succeeds."""
        client, name = client_of(request), file.filename or "upload.csv"
        kept = await reading(state, client, lambda spent: state.library.add(file.file, name, spent=spent))
        candles = await reading(state, client, lambda spent: state.library.candles(kept.reference, spent=spent))
        return UploadAnswer(**_upload(kept).model_dump(), data_info=DataInfo(**data_info(candles)))

    @router.delete("/uploads/{upload_id}", status_code=204, responses=errors(404, 507))
    async def remove(upload_id: Annotated[str, Path(max_length=100)]) -> None:
        """Forget an upload."""
        await in_pool(state, state.library.remove, upload_id)

    @router.get("/available-models", responses=errors())
    async def available_models() -> ModelsAnswer:
        """List the models that can be loaded."""
        return ModelsAnswer(models=await in_pool(state, offered, state.settings), model_available=True)

    @router.get("/model-status", responses=errors())
    async def model_status() -> ModelStatus:
        """Say which model the workbench uses."""
        info = current_model(state, state.models.chosen)
        message = "No model is loaded yet." if info is None else f"{info.name} is loaded on {info.device}."
        return ModelStatus(available=True, loaded=info is not None, message=message, current_model=info)

    @router.post("/load-model", response_model=LoadModelAnswer, responses=errors(408, 413))
    async def load(request: Request, body: LoadModelBody) -> dict[str, Any]:
        """Load a model; the one before stays in use if that fails. Large downloads are better done as a job."""
        named(state.settings, body.model_key, body.device)
        work.check(client_of(request))
        work.debit(client_of(request), _LOADING)
        return await asyncio.wait_for(load_model(state, body), state.serve.timeout)

    @router.post("/predict", response_model=PredictAnswer, responses=errors(404, 408, 413, 507))
    async def predict(request: Request, body: PredictBody) -> dict[str, Any]:
        """Forecast a file's latest candles, or replay a past window and compare; the result is saved.

        What takes longer than a request may take is better done as a job.
        """
        candles = await read(state, request, body)
        work.debit(client_of(request), body.work)
        return await while_wanted(request, predict_file(state, body, candles, None), state.serve.timeout)

    @router.post(
        "/jobs/predict", status_code=202, response_model=JobBody, tags=["Jobs"], responses=errors(404, 408, 413, 507)
    )
    async def predict_job(request: Request, body: PredictBody) -> dict[str, Any]:
        """Start a forecast as a job; its result is what ``POST /api/predict`` answers."""
        candles = await read(state, request, body)
        work.debit(client_of(request), body.work)
        return job_body(state, state.jobs.start("predict", lambda job: predict_file(state, body, candles, job)))

    @router.post("/jobs/load-model", status_code=202, response_model=JobBody, tags=["Jobs"], responses=errors(408, 413))
    async def load_job(request: Request, body: LoadModelBody) -> dict[str, Any]:
        """Start to load a model as a job; its result is what ``POST /api/load-model`` answers."""
        named(state.settings, body.model_key, body.device)
        work.check(client_of(request))
        work.debit(client_of(request), _LOADING)

        async def loading(job: Job) -> dict[str, Any]:
            job.tell(0.0, "loading")
            return await load_model(state, body)

        return job_body(state, state.jobs.start("load-model", loading))

    return router


def _upload(one: Any) -> UploadBody:
    return UploadBody(id=one.id, file_path=one.reference, name=one.name, size=one.size, uploaded=one.uploaded)
