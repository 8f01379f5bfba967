"""The prediction API: ``/api/predict``, ``/api/history``, ``/api/assets``."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from kronos.serve.predictions import DEFAULT_HOURS, MAX_HOURS, cache_control
from kronos.serve.routes.common import client_of, errors
from kronos.serve.schemas import AssetResponse, AssetsResponse, HistoryResponse, PredictionResponse
from kronos.serve.state import AppState

MAX_DAYS = 90

Symbol = Annotated[
    str, Query(min_length=1, max_length=20, description="A symbol of /api/assets, in any case.", examples=["BTC"])
]
Hours = Annotated[int, Query(ge=1, le=MAX_HOURS, description="Horizon in hours.", examples=[24])]
Days = Annotated[int, Query(ge=1, le=MAX_DAYS, description="Days of history.", examples=[7])]


def prediction_routes(state: AppState) -> APIRouter:
    """Build the routes of one server."""
    router = APIRouter(prefix="/api", tags=["Predictions"])

    @router.get("/predict", response_model=PredictionResponse, responses=errors(404, 502))
    async def predict(request: Request, symbol: Symbol, hours: Hours = DEFAULT_HOURS) -> Response:
        """Predict the next hours of a symbol.

        The prediction is computed once for all clients, and cached until the next candle closes.
        """
        predictions = state.predictions
        name = symbol.strip().upper()
        cached = predictions.cached(name, hours)
        if cached is None:
            asset = state.market_data.asset(symbol)
            client, limit = client_of(request), state.work_limit
            if predictions.needs_computation(asset.symbol, hours):
                limit.check(client)
            async with asyncio.timeout(state.serve.timeout):
                body = await predictions.response(asset, hours, client, lambda steps: limit.debit(client, steps))
            cached = predictions.cached(name, hours) or (body, 0.0)
        return _json_response(*cached)

    @router.get("/history", response_model=HistoryResponse, responses=errors(404, 502))
    async def history(symbol: Symbol, days: Days = 7) -> Response:
        """Return past prices, volumes and market capitalizations of a symbol."""
        async with asyncio.timeout(state.serve.timeout):
            return _json_response(await state.predictions.history(state.market_data.asset(symbol), days), 0.0)

    @router.get("/assets", responses=errors())
    async def assets() -> AssetsResponse:
        """List the available symbols."""
        listed = [
            AssetResponse(symbol=asset.symbol, name=asset.name, supported=state.market_data.is_supported(asset))
            for asset in state.market_data.assets.values()
        ]
        return AssetsResponse(assets=listed, count=len(listed))

    return router


def _json_response(body: bytes, seconds: float) -> Response:
    return Response(body, media_type="application/json", headers={"Cache-Control": cache_control(seconds)})
