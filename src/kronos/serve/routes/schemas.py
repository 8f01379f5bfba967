"""What the workbench API takes and gives, field by field."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kronos.inference import SamplingParams
from kronos.sandbox import FileOptions
from kronos.serve.workbench import WorkbenchRequest

Text = Annotated[str, Field(max_length=200)]


class RequestBody(BaseModel):
    """A request's body: fields that nobody knows are refused, and values of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class FileRequest(RequestBody):
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
    def options(self) -> FileOptions:
        """For the library."""
        return FileOptions(self.symbol, self.interval, self.timezone, self.calendar, tuple(self.columns.items()))


class PredictRequest(FileRequest):
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
    def wanted(self) -> WorkbenchRequest:
        """For the workbench."""
        sampling = SamplingParams(
            temperature=self.temperature, top_p=self.top_p, samples=self.sample_count, seed=self.seed
        )
        return WorkbenchRequest(self.lookback, self.pred_len, sampling, self.start_date, self.calibrate)

    @property
    def work(self) -> int:
        """Path-steps."""
        return self.sample_count * self.pred_len


class LoadModelRequest(RequestBody):
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


class FindingResponse(BaseModel):
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
    findings: list[FindingResponse]


class LoadDataResponse(BaseModel):
    """A file that was read."""

    success: Literal[True]
    data_info: DataInfo
    message: str


class UploadInfo(BaseModel):
    """An upload."""

    id: str = Field(description="SHA-256 of the content.")
    file_path: str = Field(description="What file_path takes.")
    name: str = Field(description="What the client called it: text, not a path.")
    size: int
    uploaded: str


class UploadResponse(UploadInfo):
    """An upload that was read, and what it holds."""

    data_info: DataInfo


class ModelsResponse(BaseModel):
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


class LoadModelResponse(BaseModel):
    """A model that was loaded."""

    success: Literal[True]
    message: str
    model_info: CurrentModel


class CandleResponse(BaseModel):
    """A candle."""

    timestamp: str
    open: float
    high: float
    low: float
    close: float
    volume: float
    amount: float


class PredictResponse(BaseModel):
    """A forecast of a file's window; saved under its id."""

    success: Literal[True]
    id: str
    prediction_type: str
    chart: str = Field(description="A plotly figure, as JSON text.")
    prediction_results: list[CandleResponse] = Field(
        description="Median candles: quantiles of each channel, not an average."
    )
    actual_data: list[CandleResponse] = Field(description="What came, where a start_date left something.")
    has_comparison: bool
    message: str
    model: str
    state: Literal["raw", "calibrated"]
    simulated: bool
    lookback: int
    forecast: dict[str, Any] = Field(description="Bands, probabilities, and what made the forecast.")
    paths: list[list[float]] = Field(description="Closes of the first twenty paths.")
    scores: dict[str, Any] | None = Field(description="The forecast beside baselines, where something came.")
