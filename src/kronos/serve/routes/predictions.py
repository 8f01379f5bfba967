"""The prediction API: ``/api/predict``, ``/api/history``, ``/api/assets``."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from kronos.serve.middleware import Headers, Ready
from kronos.serve.prediction_schemas import AssetResponse, AssetsResponse, HistoryResponse, PredictionResponse
from kronos.serve.routes.common import client_of, errors
from kronos.serve.state import AppState

MOST_HOURS, MOST_DAYS = 168, 90
_HOURS = 24
_SYMBOL, _NUMBER = rb"symbol=([A-Za-z0-9._-]{1,20})", rb"hours=([1-9][0-9]{0,2})"
_PLAIN = re.compile(rb"%b(?:&%b)?|%b&%b" % (_SYMBOL, _NUMBER, _NUMBER, _SYMBOL))

Symbol = Annotated[
    str, Query(min_length=1, max_length=20, description="One of /api/assets, in any case.", examples=["BTC"])
]
Hours = Annotated[int, Query(ge=1, le=MOST_HOURS, description="How far ahead.")]
Days = Annotated[int, Query(ge=1, le=MOST_DAYS, description="How far back.")]


def prediction_routes(state: AppState) -> APIRouter:
    """The routes of one server."""
    router = APIRouter(prefix="/api", tags=["Predictions"])

    @router.get("/predict", response_model=PredictionResponse, responses=errors(404, 502))
    async def predict(request: Request, symbol: Symbol, hours: Hours = _HOURS) -> Response:
        """Predict a symbol's next hours.

        The answer is computed once for all who ask, and kept until the next candle closes.
        """
        predictions = state.predictions
        name = symbol.strip().upper()
        ready = predictions.ready(name, hours)
        if ready is None:
            asset = state.feed.asset(symbol)
            client, work = client_of(request), state.rules.work
            if predictions.costs(asset.symbol, hours):
                work.check(client)
            async with asyncio.timeout(state.serve.timeout):
                body = await predictions.answer(asset, hours, lambda steps: work.debit(client, steps))
            ready = predictions.ready(name, hours) or (body, 0.0)
        return cached_response(*ready)

    @router.get("/history", response_model=HistoryResponse, responses=errors(404, 502))
    async def history(symbol: Symbol, days: Days = 7) -> Response:
        """Give a symbol's past prices, volumes and capitalisations."""
        async with asyncio.timeout(state.serve.timeout):
            return cached_response(await state.predictions.history(state.feed.asset(symbol), days), 0.0)

    @router.get("/assets", responses=errors())
    async def assets() -> AssetsResponse:
        """List the symbols that can be asked for."""
        found = [
            AssetResponse(symbol=one.symbol, name=one.name, supported=state.feed.supported(one))
            for one in state.feed.assets.values()
        ]
        return AssetsResponse(assets=found, count=len(found))

    return router


def ready_predictions(state: AppState) -> Ready:
    """What answers ``GET /api/predict`` at once, if it is asked the plain way and the answer is kept.

    Anything else, and whatever is wrong with a request, is the route's.
    """

    def ready(query: bytes) -> tuple[bytes, Headers] | None:
        asked = _PLAIN.fullmatch(query)
        if asked is None:
            return None
        symbol, hours = asked[1] or asked[4], int(asked[2] or asked[3] or _HOURS)
        found = state.predictions.ready(symbol.decode().upper(), hours) if hours <= MOST_HOURS else None
        if found is None:
            return None
        body, seconds = found
        return body, [
            (b"cache-control", _cached(seconds).encode()),
            (b"content-length", str(len(body)).encode()),
            (b"content-type", b"application/json"),
        ]

    return ready


def cached_response(body: bytes, seconds: float) -> Response:
    """JSON that is there already, with how long it holds."""
    return Response(body, media_type="application/json", headers={"Cache-Control": _cached(seconds)})


def _cached(seconds: float) -> str:
    return f"private, max-age={int(seconds)}" if seconds >= 1 else "no-cache"
