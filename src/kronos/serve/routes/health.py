"""Health check, readiness and metrics: ``/health``, ``/ready``, ``/metrics``."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from kronos.provenance import now_utc
from kronos.sandbox.data_dir import redact_paths
from kronos.serve.routes.common import ErrorResponse, errors
from kronos.serve.state import AppState


class HealthResponse(BaseModel):
    """The process responds."""

    status: Literal["ok"]
    timestamp: str


class ReadyResponse(BaseModel):
    """Whether the model is in memory."""

    status: Literal["ready", "loading", "stopping", "failed"]
    message: str = Field(description="Why the server is not ready; empty if it is.")


def health_routes(state: AppState) -> APIRouter:
    """Build the routes of one server."""
    router = APIRouter(tags=["Health"])

    @router.get("/health", responses={403: {"model": ErrorResponse}, 421: {"model": ErrorResponse}})
    async def healthcheck() -> HealthResponse:
        """Check that the process responds."""
        return HealthResponse(status="ok", timestamp=now_utc())

    @router.get(
        "/ready",
        responses={
            403: {"model": ErrorResponse},
            421: {"model": ErrorResponse},
            503: {"model": ReadyResponse, "description": "Not ready."},
        },
    )
    async def ready(response: Response) -> ReadyResponse:
        """Check that the model is in memory; 503 if not. If it failed to load, predictions use the fallback."""
        found = readiness(state)
        if found.status != "ready":
            response.status_code = 503
            response.headers["Retry-After"] = "2"
        return found

    @router.get("/metrics", response_class=PlainTextResponse, responses=errors())
    async def metrics() -> Response:
        """Return the metrics in Prometheus' text format."""
        return Response(state.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def readiness(state: AppState) -> ReadyResponse:
    """Return whether the model is in memory, and why not."""
    default = state.models.default
    if state.stopping.is_set():
        return ReadyResponse(status="stopping", message="The server is shutting down.")
    if state.models.loaded(default) is not None:
        return ReadyResponse(status="ready", message="")
    failure = state.models.failure(default)
    if failure is not None:
        return ReadyResponse(status="failed", message=f"Cannot load the model: {redact_paths(str(failure))}")
    return ReadyResponse(status="loading", message="The model is loading.")
