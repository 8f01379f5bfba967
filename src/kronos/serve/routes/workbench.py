"""The workbench API: data files and uploads, models, forecasts of them now or as jobs."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Path, Request, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from kronos.candles import Candles
from kronos.errors import DeviceError
from kronos.inference import SamplingParams
from kronos.serve.faults import ApiError
from kronos.serve.files import ReadOptions
from kronos.serve.routes.jobs import JobBody, job_body
from kronos.serve.routes.shared import client_of, errors, in_pool, reading, while_wanted
from kronos.serve.state import State
from kronos.serve.work.jobs import Job
from kronos.serve.work.models import ModelKey, named, offered, title_of
from kronos.serve.workbench import Wanted, data_info, forecast, window

_LOADING = 50_000  # path-steps' worth of work that loading a model stands for

Text = Annotated[str, Field(max_length=200)]


class Body(BaseModel):
    """A request's body: fields that nobody knows are refused, and values of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class FileBody(Body):
    """A file, and what the client knows better than it."""

    file_path: Annotated[str, Field(min_length=1, max_length=500)] = Field(
        description="A path of /api/data-files, upload:ID of /api/uploads, or sample:simulated_btc_1h.",
        examples=["sample:simulated_btc_1h"],
    )
    symbol: Text | None = None
    interval: Text | None = Field(default=None, description="Of a candle, such as 1h; else inferred.")
    timezone: Text | None = Field(default=None, description="IANA name of the stamps' clock.")
    calendar: Text | None = Field(default=None, description="When it trades, such as XNYS; else guessed.")
    columns: dict[Text, Text] = Field(
        default_factory=dict, max_length=32, description="Which column is which, such as close: Last Price."
    )

    @property
    def options(self) -> ReadOptions:
        """For the library."""
        return ReadOptions(self.symbol, self.interval, self.timezone, self.calendar, tuple(self.columns.items()))


class PredictBody(FileBody):
    """A forecast to make; parameters as the published web UI has them, and some more."""

    lookback: Annotated[int, Field(ge=2, le=10_000)] = 400
    pred_len: Annotated[int, Field(ge=1, le=2_000)] = 120
    temperature: Annotated[float, Field(ge=0.1, le=2.0)] = 1.0
    top_p: Annotated[float, Field(ge=0.1, le=1.0)] = Field(
        default=1.0, description="Below 1, both tails are cut at every step, and bands get too narrow."
    )
    sample_count: Annotated[int, Field(ge=1, le=200)] = 100
    start_date: Text | None = Field(
        default=None,
        description="Of the window's first candle; null for the latest candles and a forecast beyond them.",
    )
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(default=None, description="Null draws one.")
    calibrate: bool = Field(default=False, description="Correct the paths where the model has a calibration for this.")

    @property
    def wanted(self) -> Wanted:
        """For the workbench."""
        sampling = SamplingParams(
            temperature=self.temperature, top_p=self.top_p, samples=self.sample_count, seed=self.seed
        )
        return Wanted(self.lookback, self.pred_len, sampling, self.start_date, self.calibrate)

    @property
    def work(self) -> int:
        """Path-steps."""
        return self.sample_count * self.pred_len


class LoadModelBody(Body):
    """A model to load."""

    model_key: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description="A key of /api/available-models.", examples=["kronos-nano"]
    )
    device: Annotated[str, Field(pattern=r"^(cpu|mps|cuda(:[0-9]{1,2})?)$")] | None = Field(
        default=None, description="cpu, mps, cuda or cuda:1; null takes the configured one."
    )


class DataFile(BaseModel):
    """A file that can be read."""

    name: str
    path: str = Field(description="What file_path takes.")
    size: int = Field(description="Bytes.")
    modified: str


class Prices(BaseModel):
    """The lowest and the highest price."""

    min: float
    max: float


class FindingBody(BaseModel):
    """What reading a file noticed or mended."""

    severity: str
    code: str
    count: int
    rows: list[int] = Field(description="Row numbers, the first hundred.")
    message: str


class DataInfo(BaseModel):
    """What a file holds."""

    rows: int
    columns: list[str]
    start_date: str
    end_date: str
    price_range: Prices
    prediction_columns: list[str]
    timeframe: str
    timezone: str | None
    symbol: str | None
    simulated: bool
    findings: list[FindingBody]


class LoadDataAnswer(BaseModel):
    """A file that was read."""

    success: Literal[True]
    data_info: DataInfo
    message: str


class UploadBody(BaseModel):
    """An upload."""

    id: str = Field(description="SHA-256 of the content.")
    file_path: str = Field(description="What file_path takes.")
    name: str = Field(description="What the client called it: text, not a path.")
    size: int
    uploaded: str


class UploadAnswer(UploadBody):
    """An upload that was read, and what it holds."""

    data_info: DataInfo


class ModelsAnswer(BaseModel):
    """What can be loaded."""

    models: dict[str, dict[str, Any]]
    model_available: bool


class CurrentModel(BaseModel):
    """The model that the workbench uses."""

    name: str
    key: str
    device: str
    context_length: int
    least_history: int
    precision: str


class ModelStatus(BaseModel):
    """Whether the workbench has a model."""

    available: bool
    loaded: bool
    message: str
    current_model: CurrentModel | None


class LoadModelAnswer(BaseModel):
    """A model that was loaded."""

    success: Literal[True]
    message: str
    model_info: CurrentModel


class CandleBody(BaseModel):
    """A candle."""

    timestamp: str
    open: float
    high: float
    low: float
    close: float
    volume: float
    amount: float


class PredictAnswer(BaseModel):
    """A forecast of a file's window; saved under its id."""

    success: Literal[True]
    id: str
    prediction_type: str
    chart: str = Field(description="A plotly figure, as JSON text.")
    prediction_results: list[CandleBody] = Field(
        description="Median candles: quantiles of each channel, not an average."
    )
    actual_data: list[CandleBody] = Field(description="What came, where a start_date left something.")
    has_comparison: bool
    message: str
    model: str
    state: Literal["raw", "calibrated"]
    simulated: bool
    lookback: int
    forecast: dict[str, Any] = Field(description="Bands, probabilities, and what made the forecast.")
    paths: list[list[float]] = Field(description="Closes of the first twenty paths.")
    scores: dict[str, Any] | None = Field(description="The forecast beside baselines, where something came.")


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
