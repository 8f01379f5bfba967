"""Saved results over HTTP: listed, reopened, exported, deleted."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path as FilePath
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel

from kronos.forecasts import Forecast
from kronos.serve.routes.bodies import PredictAnswer
from kronos.serve.routes.shared import errors, in_pool
from kronos.serve.state import State

ResultId = Annotated[str, Path(max_length=60, examples=["prediction_20261121_221500"])]
Format = Literal["csv", "parquet", "png", "json", "npz"]
_TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "png": "image/png",
    "json": "application/json",
    "npz": "application/octet-stream",
}


class SavedBody(BaseModel):
    """A saved result."""

    id: str
    created: str
    size: int


class SavedList(BaseModel):
    """All of them, the latest first."""

    results: list[SavedBody]
    count: int


def result_routes(state: State) -> APIRouter:
    """The routes of one server."""
    router = APIRouter(prefix="/api/results", tags=["Results"])

    @router.get("", responses=errors())
    async def results() -> SavedList:
        """List saved results."""
        found = await in_pool(state, state.results.latest)
        return SavedList(
            results=[SavedBody(id=one.id, created=one.created, size=one.size) for one in found], count=len(found)
        )

    @router.get("/{result_id}", response_model=PredictAnswer, responses=errors(404))
    async def result(result_id: ResultId) -> Response:
        """Reopen a result, as it was answered."""
        return Response(await in_pool(state, state.results.document, result_id), media_type="application/json")

    @router.get("/{result_id}/export", response_class=Response, responses=errors(404))
    async def export(
        result_id: ResultId, kind: Annotated[Format, Query(alias="format", description="Of the file.")] = "csv"
    ) -> Response:
        """Give a result as a file: a table of averages and bands, every path (npz), a picture, or the document."""
        body = await in_pool(state, _export, state, result_id, kind)
        disposition = f'attachment; filename="{result_id}.{kind}"'
        return Response(body, media_type=_TYPES[kind], headers={"Content-Disposition": disposition})

    @router.delete("/{result_id}", status_code=204, responses=errors(404))
    async def delete(result_id: ResultId) -> None:
        """Forget a result."""
        await in_pool(state, state.results.delete, result_id)

    return router


def _export(state: State, name: str, kind: Format) -> bytes:
    if kind == "json":
        return state.results.document(name)
    forecast = state.results.forecast(name)
    if kind == "csv":
        return forecast.to_frame().to_csv(lineterminator="\n").encode()
    if kind == "parquet":
        table = io.BytesIO()
        forecast.to_frame().to_parquet(table)
        return table.getvalue()
    return _file(forecast, kind)


def _file(forecast: Forecast, kind: Format) -> bytes:
    with tempfile.TemporaryDirectory(prefix="kronos-export-") as folder:
        target = FilePath(folder) / f"export.{kind}"
        if kind == "png":
            forecast.plot(path=target)
        else:
            forecast.save(target)
        return target.read_bytes()
