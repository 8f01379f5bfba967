"""Request and response models of the prediction API and the workbench API. Clients depend on the field names."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kronos.inference import SamplingParams
from kronos.sandbox import FileOptions
from kronos.serve.workbench import WorkbenchRequest

Moment = Annotated[str, Field(description="ISO 8601, UTC", examples=["2026-11-21T22:00:00Z"])]
Open01 = Annotated[float, Field(gt=0, lt=1)]


class PredictedStep(BaseModel):
    """One predicted candle."""

    hour: float = Field(description="Hours from the last close to the close of this candle.")
    price: float = Field(description="Median close of the sampled paths.")
    low: float = Field(description="Lower end of the band of the close.")
    high: float = Field(description="Upper end of the band of the close.")
    timestamp: Moment = Field(description="Close of this candle.")


class Prediction(BaseModel):
    """A prediction and how it was computed."""

    price_24h: float = Field(description="Median close at the end of the horizon; 24 hours by default.")
    confidence: Open01 = Field(description="Probability of the trend's direction: a share of paths, never 0 or 1.")
    trend: Literal["bullish", "bearish"] = Field(
        description="bullish if the last median close is above the current price, otherwise bearish."
    )
    predictions: list[PredictedStep]
    model: Literal["kronos", "simple"] = Field(
        description="simple for the statistical fallback: drift of moving averages, historical volatility."
    )
    reason: str | None = Field(description="Why the fallback was used; null for the model.")
    model_name: str = Field(examples=["kronos-nano"])
    calibrated: bool = Field(description="Whether the paths were calibrated with the errors of past forecasts.")
    band: float = Field(description="Nominal coverage of the band from low to high.", examples=[0.8])
    samples: int = Field(description="Number of sampled paths.")
    seed: int | None
    notes: list[str] = Field(description="Caveats.")


class PredictionResponse(BaseModel):
    """Current price and prediction of a symbol."""

    symbol: str
    currentPrice: float = Field(description="Last close; with CoinGecko, the current price.")
    change24h: float | None = Field(description="Price change in 24 hours, in percent.")
    volume24h: float | None = Field(description="Volume of 24 hours in the quote currency; null if unknown.")
    marketCap: float | None = Field(description="Market capitalization; null unless the source provides it.")
    prediction: Prediction
    timestamp: Moment = Field(description="When the prediction was computed.")
    source: str = Field(description="Source of the candles.")
    simulated: bool = Field(description="Whether the candles are simulated: then this does not describe a market.")
    interval: str = Field(examples=["1h"])
    asOf: Moment = Field(description="Close of the last candle used.")
    expires: Moment = Field(description="Close of the next candle, when the prediction expires.")


Point = tuple[int, float | None]


class History(BaseModel):
    """Series of ``[timestamp in ms, value]``."""

    prices: list[Point]
    volumes: list[Point] = Field(description="In the quote currency; null if unknown.")
    marketCaps: list[Point] = Field(description="Null if unknown.")


class HistoryResponse(BaseModel):
    """Past prices of a symbol."""

    symbol: str
    days: int
    data: History
    timestamp: Moment
    source: str
    simulated: bool
    interval: str = Field(description="Time between two points.")


class AssetResponse(BaseModel):
    """An available symbol."""

    symbol: str
    name: str = Field(description="CoinGecko's id if there is one.", examples=["bitcoin"])
    supported: bool = Field(description="False once the source has rejected the symbol.")


class AssetsResponse(BaseModel):
    """All available symbols."""

    assets: list[AssetResponse]
    count: int


Text = Annotated[str, Field(max_length=200)]
_SAMPLE = "sample:simulated_btc_1h"


class RequestBody(BaseModel):
    """A request body; unknown fields and values of another type are rejected."""

    model_config = ConfigDict(extra="forbid", strict=True)


class FileRequest(RequestBody):
    """A file, with options that override what would be inferred from it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"file_path": _SAMPLE}]})

    file_path: Annotated[str, Field(min_length=1, max_length=500)] = Field(
        description="A path of /api/data-files, upload:ID of /api/uploads, or sample:simulated_btc_1h.",
        examples=[_SAMPLE],
    )
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

    @property
    def options(self) -> FileOptions:
        """The options for the library."""
        return FileOptions(self.symbol, self.interval, self.timezone, self.calendar, tuple(self.columns.items()))


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
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(default=None, description="Null for a random one.")
    calibrate: bool = Field(default=False, description="Calibrate the paths if the model has a calibration for this.")

    @property
    def forecast_options(self) -> WorkbenchRequest:
        """The options of the forecast."""
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
    rows: list[int] = Field(description="The first hundred row numbers.")
    message: str


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


class PredictResponse(BaseModel):
    """A forecast of a file, saved under its id."""

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
    paths: list[list[float]] = Field(description="Closes of the first twenty paths.")
    scores: dict[str, Any] | None = Field(description="Scores of the forecast and of baselines, with actual candles.")
