"""What watchers ask: ``/health``, ``/ready``, ``/metrics``; and the reference at ``/docs``."""

from __future__ import annotations

from functools import cache
from typing import Literal

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from pydantic import BaseModel, Field

from kronos.provenance import now_utc
from kronos.serve.faults import without_paths
from kronos.serve.reference import STYLESHEET, reference_css, reference_html
from kronos.serve.routes.shared import ErrorBody, errors
from kronos.serve.state import State


class Health(BaseModel):
    """The process is alive."""

    status: Literal["ok"]
    timestamp: str


class Ready(BaseModel):
    """Whether the model is in memory."""

    status: Literal["ready", "loading", "stopping", "failed"]
    message: str = Field(description="Why not, where it is not ready.")


def health_routes(state: State) -> APIRouter:
    """The routes of one server."""
    router = APIRouter(tags=["Health"])

    @router.get("/health", responses={403: {"model": ErrorBody}, 421: {"model": ErrorBody}})
    async def health() -> Health:
        """Say that the process answers."""
        return Health(status="ok", timestamp=now_utc())

    @router.get(
        "/ready",
        responses={
            403: {"model": ErrorBody}, 421: {"model": ErrorBody}, 503: {"model": Ready, "description": "Not ready."},
        },
    )  # fmt: skip
    async def ready(response: Response) -> Ready:
        """Say whether the model is in memory; 503 if not. Where it failed, the fallback still answers predictions."""
        found = readiness(state)
        if found.status != "ready":
            response.status_code = 503
            response.headers["Retry-After"] = "2"
        return found

    @router.get("/metrics", response_class=PlainTextResponse, responses=errors())
    async def metrics() -> Response:
        """Give the server's numbers in Prometheus' text format."""
        return Response(state.rules.numbers.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def readiness(state: State) -> Ready:
    """Whether the model is in memory, and why not."""
    default = state.models.default
    if state.closing.is_set():
        return Ready(status="stopping", message="The server is stopping.")
    if state.models.loaded(default) is not None:
        return Ready(status="ready", message="")
    failure = state.models.failure(default)
    if failure is not None:
        return Ready(status="failed", message=f"The model could not be loaded: {without_paths(str(failure))}")
    return Ready(status="loading", message="The model is being loaded.")


def reference_routes(app: FastAPI) -> APIRouter:
    """The API's reference: a page without scripts, made of the OpenAPI document."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def root() -> RedirectResponse:
        return RedirectResponse("/docs")

    @cache
    def page() -> str:
        return reference_html(app.openapi())

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        return HTMLResponse(page())

    @router.get(f"/{STYLESHEET}")
    async def css() -> Response:
        return Response(reference_css(), media_type="text/css")

    return router
