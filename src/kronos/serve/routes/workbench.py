"""The workbench API: data files and uploads, models, forecasts of files, saved results."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, Path, Query, Request, Response, UploadFile
from pydantic import BaseModel, Field, ValidationError
from pydantic.json_schema import SkipJsonSchema

from kronos.candles import Candles
from kronos.candles.previews import TablePreview
from kronos.errors import DeviceError
from kronos.sandbox import FileOptions, Upload
from kronos.sandbox.content_limits import DEFAULT_OPTIONS
from kronos.serve.candle_columns import candle_page
from kronos.serve.errors import ApiError
from kronos.serve.exports import Format, export_candles, export_result
from kronos.serve.jobs import Job
from kronos.serve.model_pool import ModelKey, available_models, display_name, resolve_model
from kronos.serve.routes.common import (
    client_of,
    errors,
    owner_of,
    reject_unknown_parameters,
    run_in_pool,
    run_reader,
    until_disconnect,
)
from kronos.serve.routes.jobs import JobResponse, job_response
from kronos.serve.state import AppState
from kronos.serve.workbench import data_info, forecast_window, select_window
from kronos.serve.workbench_schemas import (
    CandlesExportRequest,
    CandlesRequest,
    CandlesResponse,
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
    ProbabilityResponse,
    ReadOptionsBody,
    ResultSummary,
    TablePreviewResponse,
    UploadInfo,
    UploadResponse,
)

ResultId = Annotated[str, Path(max_length=60, examples=["prediction_20261121_221500"])]
Event = Literal["above", "below", "touch", "between"]
_ASSET_CANDLES = 1000  # of an asset; sources send this many in few requests
_LOAD_MODEL_WORK = 50_000  # path-steps charged for loading a model


class ResultResponse(BaseModel):
    """A saved result."""

    id: str
    created: str
    size: int
    summary: ResultSummary | None = Field(description="Null for results of releases that saved none.")


class ResultsResponse(BaseModel):
    """All saved results, the newest first."""

    results: list[ResultResponse]
    count: int


def result_routes(state: AppState) -> APIRouter:
    """Build the routes of saved results."""
    router = APIRouter(prefix="/api/results", tags=["Results"], dependencies=[Depends(reject_unknown_parameters)])

    @router.get("", responses=errors(507))
    async def results() -> ResultsResponse:
        """List saved results."""
        saved = await run_in_pool(state, state.results.latest)
        listed = [
            ResultResponse(id=result.id, created=result.created, size=result.size, summary=_summary(result.summary))
            for result in saved
        ]
        return ResultsResponse(results=listed, count=len(listed))

    @router.get("/{result_id}", response_model=PredictResponse, responses=errors(404, 507))
    async def result(result_id: ResultId) -> Response:
        """Return a saved result."""
        return Response(await run_in_pool(state, state.results.document, result_id), media_type="application/json")

    @router.get("/{result_id}/export", response_class=Response, responses=errors(404, 507))
    async def export(
        result_id: ResultId, kind: Annotated[Format, Query(alias="format", description="File format.")] = "csv"
    ) -> Response:
        """Export a result: a table of averages and bands (csv, parquet), all paths (npz), a chart, or the document."""
        return await run_in_pool(state, export_result, state.results, result_id, kind)

    @router.get("/{result_id}/probability", responses=errors(404, 507))
    async def probability(
        result_id: ResultId,
        event: Annotated[Event, Query(description="What happens to the price.")],
        price: Annotated[float, Query(gt=0, description="Level, or lower end of the range.")],
        upper: Annotated[
            float | SkipJsonSchema[None], Query(gt=0, description="Upper end of the range, for between.")
        ] = None,
        step: Annotated[int, Query(ge=-1, le=2_000, description="Step, from 1; -1 for the last.")] = -1,
    ) -> ProbabilityResponse:
        """Return the share of the sampled paths on which an event happens, with its interval.

        above, below, between: the close at the step. touch: any high or low up to the step.
        """
        if (upper is None) is (event == "between"):
            raise ApiError(400, "upper: Give it for between, and only for it.")
        forecast = await run_in_pool(state, state.results.forecast, result_id)
        ask = {
            "above": forecast.probability_above,
            "below": forecast.probability_below,
            "touch": forecast.probability_touch,
        }
        answer = forecast.probability_between(price, upper, step) if upper is not None else ask[event](price, step)
        last = forecast.horizon if step == -1 else step
        return ProbabilityResponse(
            event=event,
            price=price,
            upper=upper,
            step=last,
            value=answer.value,
            low=answer.low,
            high=answer.high,
            count=answer.count,
            paths=answer.paths,
        )

    @router.delete("/{result_id}", status_code=204, responses=errors(404, 507))
    async def delete(result_id: ResultId) -> None:
        """Delete a result."""
        await run_in_pool(state, state.results.delete, result_id)

    return router


def _summary(fields: dict[str, Any]) -> ResultSummary | None:
    try:
        return ResultSummary(**fields) if fields else None
    except ValidationError:  # altered by hand; one odd file must not hide the others
        return None


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
    """Read a file, or fetch the candles of an asset."""
    kind, _, symbol = body.file_path.partition(":")
    if kind == "asset":
        async with asyncio.timeout(state.serve.timeout):
            return (await state.market_data.candles(state.market_data.asset(symbol), _ASSET_CANDLES)).candles
    return await run_reader(
        state, client_of(request), lambda charge: state.library.candles(body.file_path, body.options, charge)
    )


async def _load_model(state: AppState, body: LoadModelRequest) -> dict[str, Any]:
    """Load a model and select it for the workbench."""
    key = resolve_model(state.settings, body.model_key, body.device)
    try:
        if state.models.loaded(key) is None:  # else not after another model, which may be downloaded for minutes
            await asyncio.wrap_future(state.loader.submit(state.models.retry, key))
    except DeviceError as error:  # the client chose the device
        raise ApiError(400, str(error)) from error
    state.models.selected = key  # not before: a request that has timed out does not change the model
    model = _current_model(state, key)
    assert model is not None
    return {"success": True, "message": _loaded_message(model), "model_info": model.model_dump()}


async def _predict_file(
    state: AppState, body: PredictRequest, candles: Candles, client: str, job: Job | None
) -> dict[str, Any]:
    """Forecast a file for a client, and report the progress to a job."""
    loop = asyncio.get_running_loop()
    options = body.forecast_options

    def report(share: float) -> None:
        if job is not None:
            loop.call_soon_threadsafe(job.report, 0.95 * share, "sampling")

    window, model = select_window(candles, options), state.models.selected
    return await forecast_window(state, window, options, model, client=client, listener=report)


def workbench_routes(state: AppState) -> APIRouter:
    """Build the routes of files, models and forecasts."""
    router = APIRouter(prefix="/api", tags=["Workbench"])
    limit = state.work_limit

    @router.get("/data-files", responses=errors())
    async def data_files() -> list[DataFile]:
        """List the files in the data folder."""
        files = await run_in_pool(state, state.library.files)
        return [DataFile(name=file.name, path=file.path, size=file.size, modified=file.modified) for file in files]

    @router.post("/load-data", response_model=LoadDataResponse, responses=errors(404, 408, 413, 415, 507))
    async def load_data(request: Request, body: FileRequest) -> dict[str, Any]:
        """Read a file and describe its content, with problems that were found or repaired."""
        candles = await _read_file(state, request, body)
        info = data_info(candles)
        return {"success": True, "data_info": info, "message": f"Read {len(candles):,} candles of {candles.interval}."}

    @router.post("/candles", response_model=CandlesResponse, responses=errors(404, 408, 413, 415, 502, 507))
    async def candles(request: Request, body: CandlesRequest) -> dict[str, Any]:
        """Read the newest candles of a file in columns, for a chart; page to older ones with before."""
        series = await _read_file(state, request, body)
        page = await run_in_pool(state, candle_page, series, limit=body.limit, before=body.before, ahead=body.ahead)
        return {"data_info": data_info(series), **page}

    @router.post("/candles/export", response_class=Response, responses=errors(404, 408, 413, 415, 502, 507))
    async def download_candles(request: Request, body: CandlesExportRequest) -> Response:
        """Download the candles of a file as they were read and repaired."""
        series = await _read_file(state, request, body)
        return await run_in_pool(state, export_candles, series, body.file_path.rpartition("/")[2], body.format)

    @router.post("/preview", response_model=TablePreviewResponse, responses=errors(404, 408, 413, 415, 507))
    async def preview(request: Request, body: FileRequest) -> TablePreview:
        """Return the first rows of a file as they are written, with what each column is read as."""
        if body.file_path.startswith("asset:"):
            raise ApiError(400, "file_path: Candles of a symbol come from no file; name a file, an upload or a sample.")
        return await run_reader(
            state, client_of(request), lambda charge: state.library.preview(body.file_path, body.options, charge)
        )

    @router.get("/uploads", responses=errors())
    async def uploads() -> list[UploadInfo]:
        """List the uploads."""
        return [_upload_info(upload) for upload in await run_in_pool(state, state.library.uploads)]

    @router.post("/uploads", status_code=201, responses=errors(408, 413, 415, 507))
    async def upload(
        request: Request,
        file: Annotated[UploadFile, File(description="CSV, JSON, Feather or Parquet.")],
        options: Annotated[
            str | None,
            Form(max_length=20_000, description="JSON object with the reading options of POST /api/load-data."),
        ] = None,
    ) -> UploadResponse:
        """Upload a file; it is stored if it can be read."""
        client, name, chosen = client_of(request), file.filename or "upload.csv", _parse_options(options)
        stored = await run_reader(
            state, client, lambda charge: state.library.add(file.file, name, chosen, spent=charge)
        )
        candles = await run_reader(
            state, client, lambda charge: state.library.candles(stored.reference, chosen, spent=charge)
        )
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

    @router.post("/load-model", response_model=LoadModelResponse, responses=errors(408, 413, 415))
    async def load(request: Request, body: LoadModelRequest) -> dict[str, Any]:
        """Load a model; the previous one stays if that fails. Use a job for a large download."""
        _charge_model_load(state, request, body)
        return await asyncio.wait_for(_load_model(state, body), state.serve.timeout)

    @router.post("/predict", response_model=PredictResponse, responses=errors(404, 408, 413, 415, 507))
    async def predict(request: Request, body: PredictRequest) -> dict[str, Any]:
        """Forecast the latest candles of a file, or replay a past window and compare; the result is saved.

        Use a job if this takes longer than the request timeout.
        """
        candles = await _read_file(state, request, body)
        limit.debit(client_of(request), body.work)
        forecast = _predict_file(state, body, candles, client_of(request), None)
        return await until_disconnect(request, forecast, state.serve.timeout)

    @router.post(
        "/jobs/predict",
        status_code=202,
        response_model=JobResponse,
        tags=["Jobs"],
        responses=errors(404, 408, 413, 415, 507),
    )
    async def predict_job(request: Request, body: PredictRequest) -> dict[str, Any]:
        """Start a forecast as a job; its result is the response of ``POST /api/predict``."""
        candles = await _read_file(state, request, body)
        limit.debit(client_of(request), body.work)
        client, owner = client_of(request), owner_of(state, request)
        job = state.jobs.start("predict", lambda job: _predict_file(state, body, candles, client, job), owner=owner)
        return job_response(state, request, job)

    @router.post(
        "/jobs/load-model", status_code=202, response_model=JobResponse, tags=["Jobs"], responses=errors(408, 413, 415)
    )
    async def load_job(request: Request, body: LoadModelRequest) -> dict[str, Any]:
        """Load a model as a job; its result is the response of ``POST /api/load-model``."""
        _charge_model_load(state, request, body)

        async def load(job: Job) -> dict[str, Any]:
            job.report(0.0, "loading")
            return await _load_model(state, body)

        return job_response(state, request, state.jobs.start("load-model", load, owner=owner_of(state, request)))

    return router


def _parse_options(text: str | None) -> FileOptions:
    """Parse the reading options that accompany an upload."""
    try:
        return ReadOptionsBody.model_validate_json(text).options if text else DEFAULT_OPTIONS
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(("options", *map(str, first["loc"])))
        raise ApiError(400, f"{field[:100]}: {str(first['msg'])[:300]}.") from None


def _charge_model_load(state: AppState, request: Request, body: LoadModelRequest) -> None:
    """Check the model's name, and charge the client for loading it."""
    resolve_model(state.settings, body.model_key, body.device)
    state.work_limit.check(client_of(request))
    state.work_limit.debit(client_of(request), _LOAD_MODEL_WORK)


def _upload_info(upload: Upload) -> UploadInfo:
    return UploadInfo(
        id=upload.id, file_path=upload.reference, name=upload.name, size=upload.size, uploaded=upload.uploaded
    )
