"""Request and response models of the workbench API. Clients depend on the field names."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kronos.inference import SamplingParams
from kronos.sandbox import FileOptions
from kronos.serve.workbench import WorkbenchRequest

Text = Annotated[str, Field(max_length=200)]
_SAMPLE = "sample:simulated_btc_1h"


class RequestBody(BaseModel):
    """A request body; unknown fields and values of another type are rejected."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ReadOptionsBody(RequestBody):
    """Options that override what would be inferred from a file."""

    symbol: Text | None = Field(default=None, examples=["BTC"])
    interval: Text | None = Field(
        default=None, description="Interval of the candles, such as 1h; inferred by default.", examples=["1h"]
    )
    timezone: Text | None = Field(default=None, description="IANA timezone of the timestamps.", examples=["UTC"])
    calendar: Text | None = Field(
        default=None, description="Trading calendar, such as XNYS; inferred by default.", examples=["24/7"]
    )
    columns: dict[Text, Text] = Field(
        default_factory=dict,
        max_length=32,
        description="Names of the file's columns, such as close: Last Price.",
        examples=[{"close": "Last Price"}],
    )
    decimal: Text | None = Field(
        default=None, description="Decimal sign of the numbers; inferred by default.", examples=[","]
    )
    thousands: Text | None = Field(
        default=None, description="Thousands sign of the numbers, empty for none; inferred by default.", examples=["."]
    )
    date_format: Text | None = Field(
        default=None, description="strptime format of the times; inferred by default.", examples=["%d.%m.%Y %H:%M"]
    )
    header: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Line of the column names, from 1; 0 without any; inferred by default.", examples=[1]
    )

    @property
    def options(self) -> FileOptions:
        """The options for the library."""
        return FileOptions(
            symbol=self.symbol,
            interval=self.interval,
            timezone=self.timezone,
            calendar=self.calendar,
            columns=tuple(self.columns.items()),
            decimal=self.decimal,
            thousands=self.thousands,
            date_format=self.date_format,
            header=self.header,
        )


class FileRequest(ReadOptionsBody):
    """A file, with options that override what would be inferred from it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"file_path": _SAMPLE}]})

    file_path: Annotated[str, Field(min_length=1, max_length=500)] = Field(
        description=(
            "A path of /api/data-files, upload:ID of /api/uploads, sample:simulated_btc_1h, or asset:SYMBOL of "
            "/api/assets."
        ),
        examples=[_SAMPLE],
    )


class CandlesExportRequest(FileRequest):
    """A file whose candles to download as they were read and repaired."""

    format: Literal["csv", "parquet"] = Field(default="csv", description="File format.")


class CandlesRequest(FileRequest):
    """A part of a file's candles."""

    limit: Annotated[int, Field(ge=1, le=100_000)] = Field(default=2000, description="Largest number of candles.")
    before: int | None = Field(
        default=None, description="Return candles that open before this time, in UTC epoch seconds; null for the end."
    )
    ahead: Annotated[int, Field(ge=0, le=2_000)] = Field(default=0, description="Times of candles to come to return.")


class PredictRequest(FileRequest):
    """A forecast of a file; the parameters of the published web UI, and further ones."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"file_path": _SAMPLE, "lookback": 400, "pred_len": 24, "sample_count": 20, "seed": 0}]
        }
    )

    lookback: Annotated[int, Field(ge=2, le=10_000)] = Field(default=400, description="Candles of history.")
    pred_len: Annotated[int, Field(ge=1, le=2_000)] = Field(default=120, description="Candles to forecast.")
    temperature: Annotated[float, Field(ge=0.1, le=2.0)] = Field(default=1.0, description="1: unchanged.")
    top_p: Annotated[float, Field(ge=0.1, le=1.0)] = Field(
        default=1.0, description="Below 1, both tails are cut at every step and bands become too narrow."
    )
    sample_count: Annotated[int, Field(ge=1, le=200)] = Field(default=100, description="Paths to sample.")
    start_date: Text | None = Field(
        default=None,
        description="Time of the first candle of the history; null forecasts beyond the latest candles.",
        examples=["2024-01-01"],
    )
    as_of: Text | None = Field(
        default=None,
        description="Time of the last candle of the history; the candles after it are compared. Not with start_date.",
        examples=["2024-01-17T15:00:00Z"],
    )
    windows: Annotated[int, Field(ge=1, le=20)] = Field(
        default=1,
        description="Windows to score in a replay: that of as_of or start_date, and as many before it as the file has.",
    )
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(default=None, description="Null for a random one.")
    calibrate: bool = Field(default=True, description="Calibrate the paths if the model has a calibration for this.")

    @property
    def forecast_options(self) -> WorkbenchRequest:
        """The options of the forecast."""
        sampling = SamplingParams(
            temperature=self.temperature, top_p=self.top_p, samples=self.sample_count, seed=self.seed
        )
        return WorkbenchRequest(
            self.lookback,
            self.pred_len,
            sampling,
            self.start_date,
            self.calibrate,
            as_of=self.as_of,
            windows=self.windows,
            document=self.model_dump(mode="json"),
        )

    @property
    def work(self) -> int:
        """Path-steps."""
        return self.sample_count * self.pred_len * self.windows


class LoadModelRequest(RequestBody):
    """A model to load."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model_key": "kronos-nano"}]})

    model_key: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description="A key of /api/available-models.", examples=["kronos-nano"]
    )
    device: Annotated[str, Field(pattern=r"^(cpu|mps|cuda(:[0-9]{1,2})?)$")] | None = Field(
        default=None, description="cpu, mps, cuda or cuda:1; null for the configured one.", examples=["cpu"]
    )


class DataFile(BaseModel):
    """A file in the data folder."""

    name: str
    path: str = Field(description="Value for file_path.")
    size: int = Field(description="Bytes.")
    modified: str


class Prices(BaseModel):
    """The lowest and the highest price."""

    min: float
    max: float


class FindingResponse(BaseModel):
    """A problem in a file, possibly repaired."""

    severity: str
    code: str
    count: int
    rows: list[int] = Field(description="The first ten row numbers.")
    message: str
    kind: str = Field(description="Short stable name of the sentence; a code may have several. Empty if it has none.")
    values: dict[str, str | int] = Field(description="What the sentence quotes, by name.")


class DataInfo(BaseModel):
    """The content of a file."""

    rows: int
    columns: list[str]
    start_date: str
    end_date: str
    price_range: Prices
    prediction_columns: list[str]
    timeframe: str
    timezone: str | None
    calendar: str = Field(description="Trading calendar of the times to come: the one given, or the one detected.")
    calendar_inferred: bool = Field(description="Whether the calendar was detected from the times.")
    symbol: str | None
    simulated: bool
    findings: list[FindingResponse]


class TablePreviewResponse(BaseModel):
    """The first rows of a file as they are written, and what each column was read as."""

    labels: list[str] = Field(description="Names of the columns in the file; empty where they have none.")
    references: list[str] = Field(description="What names each column in the option columns.")
    roles: list[str] = Field(
        description="What each column was read as: timestamps, clock, symbol, open, high …; empty if unused."
    )
    rows: list[list[str]] = Field(description="Cells as text, shortened.")
    first: int = Field(description="Number of the first row, as messages count rows.")
    columns: int = Field(description="Number of columns of the file; at most forty of them are here.")


class LoadDataResponse(BaseModel):
    """A file that was read."""

    success: Literal[True]
    data_info: DataInfo
    message: str


class ColumnsResponse(BaseModel):
    """Candles in columns, the oldest first."""

    time: list[int] = Field(description="Times as stamped, in UTC epoch seconds; times without a timezone as if UTC.")
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float] | None


class CandlesResponse(BaseModel):
    """A part of a file's candles, for a chart."""

    data_info: DataInfo
    offset: int = Field(description="Candles of the file before this part.")
    digits: int = Field(description="Digits after the decimal point that the prices are quoted with.")
    candles: ColumnsResponse
    next: list[int] = Field(description="Times of the candles to come, by the calendar.")
    next_close: int | None = Field(description="Close of the next candle, if candles are stamped at their open.")


class UploadInfo(BaseModel):
    """An upload."""

    id: str = Field(description="SHA-256 of the content.")
    file_path: str = Field(description="Value for file_path.")
    name: str = Field(description="File name given by the client; a label, not a path.")
    size: int
    uploaded: str


class UploadResponse(UploadInfo):
    """An upload and its content."""

    data_info: DataInfo


class ModelsResponse(BaseModel):
    """The models that can be loaded."""

    models: dict[str, dict[str, Any]]
    model_available: bool


class CurrentModel(BaseModel):
    """The model of the workbench."""

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


class ReplayRow(BaseModel):
    """Scores of the model or of a baseline in a replay; intervals are over windows, null below five."""

    name: str
    kind: Literal["raw", "calibrated", "baseline", "reference"]
    crps: float = Field(description="Mean fair CRPS of the log return of the close since the last known one.")
    mae: float = Field(description="Mean absolute error of the median log return.")
    crps_scaled: float | None = Field(description="CRPS in units of σ√h; null where the history does not move.")
    mae_scaled: float | None = Field(description="Error of the median in units of σ√h.")
    window_crps: float = Field(description="CRPS of the shown window alone.")
    window_mae: float
    window_inside_80: float | None
    skill: float | None = Field(description="1 - CRPS / CRPS of the reference; null for the reference.")
    skill_low: float | None
    skill_high: float | None
    inside_50: float | None = Field(description="Share of closes inside the 50 % band; null for point forecasts.")
    inside_50_low: float | None
    inside_50_high: float | None
    inside_80: float | None
    inside_80_low: float | None
    inside_80_high: float | None
    inside_95: float | None
    inside_95_low: float | None
    inside_95_high: float | None


class ReplayScores(BaseModel):
    """The comparison of a replay."""

    windows: int = Field(description="Windows that the scores are means of.")
    known_steps: int = Field(description="Steps of the shown window whose outcome is known.")
    reference: str
    look_ahead: bool = Field(
        description="Whether the calibration was fitted on outcomes from after an origin: then it is no fair test."
    )
    rows: list[ReplayRow]


class ForecastView(BaseModel):
    """What a chart of a forecast shows."""

    request: dict[str, Any] = Field(description="The request, with the seed that was used.")
    file_name: str = Field(description="Name of the file, as its owner knows it.")
    digits: int
    history: ColumnsResponse = Field(description="The candles that the model was given.")
    actual: ColumnsResponse | None = Field(description="What followed, in a replay.")
    time: list[int] = Field(description="Times of the forecast candles.")
    central: ColumnsResponse = Field(description="The most central sampled path: the medoid in log close.")
    central_path: int = Field(description="Its number, from 0.")
    scores: ReplayScores | None


class ProbabilityResponse(BaseModel):
    """The answer to a question, from the sampled paths."""

    event: Literal["above", "below", "touch", "between"]
    price: float
    upper: float | None
    step: int
    value: float = Field(description="Probability, never 0 or 1: Jeffreys' estimate.")
    low: float = Field(description="Lower end of the 95 % interval, which only reflects the number of paths.")
    high: float
    count: int = Field(description="Paths on which the event happens.")
    paths: int


class ResultSummary(BaseModel):
    """What a saved result is a forecast of."""

    symbol: str | None
    interval: str
    model: str
    state: Literal["raw", "calibrated"]
    as_of: str = Field(description="Time of the last candle of the history.")
    horizon: int
    replay: bool
    simulated: bool


class PredictResponse(BaseModel):
    """A forecast of a file, saved under its id."""

    summary: ResultSummary | None = Field(
        default=None, description="Null in results that were saved before it existed."
    )

    success: Literal[True]
    id: str
    prediction_type: str
    chart: str = Field(description="A plotly figure as JSON text.")
    prediction_results: list[CandleResponse] = Field(
        description="Median candles: the median of each channel, not an average of paths."
    )
    actual_data: list[CandleResponse] = Field(description="Actual candles after a history that starts at start_date.")
    has_comparison: bool
    message: str
    model: str
    state: Literal["raw", "calibrated"]
    simulated: bool
    lookback: int
    forecast: dict[str, Any] = Field(description="Bands, probabilities and metadata of the forecast.")
    paths: list[list[float]] = Field(description="Closes of the first sampled paths, at most 100.")
    scores: dict[str, Any] | None = Field(description="Scores of the forecast and of baselines, with actual candles.")
    view: ForecastView | None = Field(
        default=None, description="What a chart shows; null in results that were saved before it existed."
    )
