"""Response models of the prediction API. Clients depend on the field names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

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
