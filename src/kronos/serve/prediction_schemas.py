"""What the prediction API answers, field by field. Names are promises to the clients that there are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

Moment = Annotated[str, Field(description="ISO 8601, UTC", examples=["2026-11-21T22:00:00Z"])]
Open01 = Annotated[float, Field(gt=0, lt=1)]


class PredictedStep(BaseModel):
    """One candle ahead."""

    hour: float = Field(description="Hours from the last close to this candle's close.")
    price: float = Field(description="Median close of the paths.")
    low: float = Field(description="Lower end of the band of the close.")
    high: float = Field(description="Upper end of the band of the close.")
    timestamp: Moment = Field(description="When this candle closes.")


class Prediction(BaseModel):
    """What may come, and how it was made."""

    price_24h: float = Field(
        description="Median close at the end of the horizon: after 24 hours unless asked otherwise."
    )
    confidence: Open01 = Field(description="Probability of the trend's direction: the share of paths, never 0 or 1.")
    trend: Literal["bullish", "bearish"] = Field(
        description="bullish if the median final close is above the current price, otherwise bearish."
    )
    predictions: list[PredictedStep]
    model: Literal["kronos", "simple"] = Field(
        description="simple if the statistical fallback answered: moving-average drift, historical volatility."
    )
    reason: str | None = Field(description="Why the fallback answered; null if the model did.")
    model_name: str = Field(examples=["kronos-nano"])
    calibrated: bool = Field(description="Whether the paths were corrected by what past forecasts got wrong.")
    band: float = Field(description="Share of outcomes that low and high are meant to hold.", examples=[0.8])
    samples: int = Field(description="Paths sampled.")
    seed: int | None
    notes: list[str] = Field(description="What a reader must know.")


class PredictionResponse(BaseModel):
    """A symbol's present and its prediction."""

    symbol: str
    currentPrice: float = Field(description="Last close; with CoinGecko, its price now.")
    change24h: float | None = Field(description="Change of the price in 24 hours, in percent.")
    volume24h: float | None = Field(description="Traded in 24 hours, in the quote currency; null if not told.")
    marketCap: float | None = Field(description="Null unless the source tells it.")
    prediction: Prediction
    timestamp: Moment = Field(description="When this answer was made.")
    source: str = Field(description="Where the candles come from.")
    simulated: bool = Field(description="Whether the candles are invented: then nothing here is about a market.")
    interval: str = Field(examples=["1h"])
    asOf: Moment = Field(description="When the last candle used closed.")
    expires: Moment = Field(description="When the next candle closes, and with it this answer ends.")


Point = tuple[int, float | None]


class History(BaseModel):
    """Series of ``[timestamp in ms, value]``."""

    prices: list[Point]
    volumes: list[Point] = Field(description="In the quote currency; null where the source does not tell it.")
    marketCaps: list[Point] = Field(description="Null where the source does not tell it.")


class HistoryResponse(BaseModel):
    """A symbol's past."""

    symbol: str
    days: int
    data: History
    timestamp: Moment
    source: str
    simulated: bool
    interval: str = Field(description="How far the moments are apart.")


class AssetResponse(BaseModel):
    """What can be asked for."""

    symbol: str
    name: str = Field(description="CoinGecko's id where there is one.", examples=["bitcoin"])
    supported: bool = Field(description="False once the source has said that it does not have it.")


class AssetsResponse(BaseModel):
    """All assets."""

    assets: list[AssetResponse]
    count: int
