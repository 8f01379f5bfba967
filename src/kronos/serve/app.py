"""The FastAPI application: routes, middleware, error handlers, startup and shutdown."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Match

from kronos import __version__
from kronos.serve.docs_page import docs_routes
from kronos.serve.errors import ApiError
from kronos.serve.middleware import (
    AccessLogMiddleware,
    APIKeyMiddleware,
    BodyLimitMiddleware,
    CachedPredictionMiddleware,
    CORSMiddleware,
    ErrorMiddleware,
    HostOriginMiddleware,
    RateLimitMiddleware,
    SecurityHeadersMiddleware,
    UnreadBodyMiddleware,
    UploadLimitMiddleware,
)
from kronos.serve.observability import configure_logging
from kronos.serve.routes.health import health_routes
from kronos.serve.routes.jobs import job_routes
from kronos.serve.routes.predictions import prediction_routes
from kronos.serve.routes.udf import udf_routes
from kronos.serve.routes.workbench import result_routes, workbench_routes
from kronos.serve.state import AppState, build_state
from kronos.settings import get_settings

_DESCRIPTION = (
    "Forecasts of candlesticks over HTTP. It reads public market data only and never trades. A forecast is not "
    "investment advice."
)
_log = logging.getLogger(__name__)


def create_app(state: AppState) -> FastAPI:
    """Create the application of one server.

    Args:
        state: Its parts; the inference thread starts and stops with the application.
    """
    app = FastAPI(
        title="Kronos",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(state),
        redirect_slashes=False,
        middleware=_middleware(state),
    )
    app.state.kronos = state
    for routes in (prediction_routes, workbench_routes, job_routes, result_routes, udf_routes, health_routes):
        app.include_router(routes(state))
    app.include_router(docs_routes(app))
    app.add_exception_handler(RequestValidationError, _handle_validation_error)
    app.add_exception_handler(HTTPException, _handle_http_exception)
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _fix_openapi(original())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def from_environment() -> FastAPI:
    """Create the application from environment variables, in each process of ``--reload``."""
    configure_logging(json_lines=not sys.stderr.isatty(), access_log=True)
    return create_app(build_state(get_settings()))


def _middleware(state: AppState) -> list[Middleware]:
    """Build the middleware stack, the outermost first."""
    serve = state.serve
    origins = serve.split_list(serve.origins)
    hosts = [*serve.split_list(serve.allowed_hosts), *([] if serve.host in ("0.0.0.0", "::", "") else [serve.host])]
    return [
        Middleware(AccessLogMiddleware, state.metrics),
        Middleware(SecurityHeadersMiddleware),
        Middleware(UnreadBodyMiddleware),
        Middleware(HostOriginMiddleware, hosts=hosts, allow_addresses=state.api_keys.required, origins=origins),
        Middleware(CORSMiddleware, origins),
        Middleware(ErrorMiddleware),
        Middleware(APIKeyMiddleware, state.api_keys, state.request_limit),
        Middleware(RateLimitMiddleware, state.request_limit),
        Middleware(BodyLimitMiddleware, state.body_limits),
        Middleware(UploadLimitMiddleware, state.work_limit, state.body_limits.concurrent_uploads),
        Middleware(CachedPredictionMiddleware, state.predictions),
    ]


def _lifespan(state: AppState) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        state.inference.start()
        loading = asyncio.wrap_future(state.loader.submit(_load_default_model, state))
        try:
            yield
        finally:
            state.begin_shutdown()
            await state.jobs.close()
            loading.cancel()

    return lifespan


def _load_default_model(state: AppState) -> None:
    """Load the default model; ``/ready`` reports a failure, and forecasts retry later."""
    try:
        state.models.get(state.models.default)
    except Exception as error:  # noqa: BLE001 (the server works without the model)
        _log.warning("cannot load the model", extra={"reason": str(error)})
    if state.freeze_gc:
        # With torch and pandas loaded, a full collection would block all requests for a tenth of a second.
        gc.collect()
        gc.freeze()


def _handle_validation_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return _error_response(ApiError(400, "The request body is not valid JSON; send a JSON object."))
    field = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    return _error_response(ApiError(400, f"{field[:100]}: {str(first['msg'])[:300]}."))


def _handle_http_exception(request: Request, error: Exception) -> JSONResponse:
    """Convert errors of the framework: unknown route, wrong method, unreadable body."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return JSONResponse({"error": "Not found", "path": request.url.path[:200]}, 404)
    if error.status_code == 405:
        allowed = ", ".join(_allowed_methods(request))
        return _error_response(ApiError(405, f"Method not allowed; use {allowed}."), {"Allow": allowed})
    return _error_response(ApiError(error.status_code, f"{error.detail}."), dict(error.headers or {}))


def _allowed_methods(request: Request) -> list[str]:
    """Return all methods of a path; the framework only knows those of the first matching route."""
    operations = request.app.openapi()["paths"].get(request.url.path)
    if operations is not None:  # /api/jobs/predict also matches the route of a job's id
        return [method.upper() for method in operations]
    routes, scope = request.app.routes, request.scope
    return [
        method
        for method in ("GET", "POST", "DELETE")
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    ]


def _error_response(error: ApiError, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(error.document, error.status, headers=headers)


def _fix_openapi(document: dict[str, Any]) -> dict[str, Any]:
    """Adapt FastAPI's document: invalid requests get 400 instead of 422, errors are JSON, API keys are declared."""
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "If the server has API keys."},
        "bearer": {"type": "http", "scheme": "bearer"},
    }
    document["security"] = [{}, {"key": []}, {"bearer": []}]
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            first, _, rest = operation["description"].partition("\n\n")
            operation["summary"], operation["description"] = first.removesuffix("."), rest
            for status, response in operation["responses"].items():
                if status >= "400" and "content" in response:  # FastAPI assumes the media type of the success
                    response["content"] = {"application/json": next(iter(response["content"].values()))}
    for name in ("HTTPValidationError", "ValidationError"):
        components.get("schemas", {}).pop(name, None)
    return document
