"""The FastAPI application: routes, middleware, error handlers, startup and shutdown."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Match

from kronos import __version__
from kronos.serve.errors import ApiError
from kronos.serve.middleware import (
    AccessLogMiddleware,
    APIKeyMiddleware,
    BodyLimitMiddleware,
    CachedPredictionMiddleware,
    CORSMiddleware,
    ErrorMiddleware,
    HeadMiddleware,
    HostOriginMiddleware,
    ProxyMiddleware,
    RateLimitMiddleware,
    SecurityHeadersMiddleware,
    UnreadBodyMiddleware,
    UploadLimitMiddleware,
)
from kronos.serve.middleware.rate_limit import UPLOADS_PATH
from kronos.serve.observability import configure_logging
from kronos.serve.pages import docs_routes, web_routes
from kronos.serve.routes.common import reject_repeated_parameters
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
        servers=[{"url": ".", "description": "Relative to this document, so that a proxy may add a path prefix."}],
        lifespan=_lifespan(state),
        redirect_slashes=False,
        dependencies=[Depends(reject_repeated_parameters)],
        middleware=_middleware(state),
    )
    app.state.kronos = state
    for routes in (prediction_routes, workbench_routes, job_routes, result_routes, udf_routes, health_routes):
        app.include_router(routes(state))
    app.include_router(docs_routes(app))
    app.include_router(web_routes())
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
    configure_logging(json_lines=sys.stderr is None or not sys.stderr.isatty(), access_log=True)
    state = build_state(get_settings())
    state.prepare_storage()
    return create_app(state)


def _middleware(state: AppState) -> list[Middleware]:
    """Build the middleware stack, the outermost first."""
    serve = state.serve
    origins = serve.split_list(serve.origins)
    trusted_proxies = os.environ.get("FORWARDED_ALLOW_IPS", "")
    proxies = [Middleware(ProxyMiddleware, trusted_proxies, serve.root_path)]
    hosts = [*serve.split_list(serve.allowed_hosts), *([] if serve.host in ("0.0.0.0", "::", "") else [serve.host])]
    return [
        *(proxies if trusted_proxies or serve.root_path else []),
        Middleware(AccessLogMiddleware, state.metrics),
        Middleware(SecurityHeadersMiddleware),
        Middleware(UnreadBodyMiddleware),
        Middleware(HostOriginMiddleware, hosts=hosts, allow_addresses=state.api_keys.required, origins=origins),
        Middleware(CORSMiddleware, origins),
        Middleware(ErrorMiddleware),
        Middleware(APIKeyMiddleware, state.api_keys, state.request_limit, serve.public_parts),
        Middleware(RateLimitMiddleware, state.request_limit),
        Middleware(BodyLimitMiddleware, state.body_limits),
        Middleware(UploadLimitMiddleware, state.work_limit, state.body_limits.concurrent_uploads),
        Middleware(CachedPredictionMiddleware, state.predictions),
        Middleware(HeadMiddleware),
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
            state.library.close()
            await state.jobs.close()
            loading.cancel()

    return lifespan


def _load_default_model(state: AppState) -> None:
    """Load the default model; ``/ready`` reports a failure, and forecasts retry later."""
    try:
        state.models.get(state.models.default)
    except Exception as error:  # noqa: BLE001 (the server works without the model)
        _log.warning("cannot load the model", extra={"reason": str(error)})
    state.library.prepare()  # not earlier: both are busy with imports, and the model is needed first
    if state.freeze_gc:
        # With torch and pandas loaded, a full collection would block all requests for a tenth of a second.
        gc.collect()
        gc.freeze()


def _handle_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    path = request.url.path
    if first["loc"][0] == "body" and (expected := _expected_media_type(request)) is not None:
        given = request.headers.get("content-type", "none").partition(";")[0][:80]
        return _error_response(ApiError(415, f"Content-Type is {given}; send the body as {expected}."), path)
    if first["type"] == "json_invalid":
        return _error_response(_unreadable_body(request), path)
    if first["loc"] == ("body",):
        return _error_response(ApiError(400, "The request body is not a JSON object; send one."), path)
    if path == UPLOADS_PATH and first["type"] == "value_error":  # a form field instead of a file
        message = "file: Send it as a file with a name, as curl does with -F file=@candles.csv."
        return _error_response(ApiError(400, message), path)
    field = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    return _error_response(ApiError(400, f"{field[:100]}: {str(first['msg'])[:300]}."), path)


def _unreadable_body(request: Request) -> ApiError:
    """Return the error for a body that cannot be parsed."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()[:40]
    if encoding != "identity":
        return ApiError(415, f"Content-Encoding {encoding} is not supported; send the body as it is.")
    return ApiError(400, "The request body is not valid JSON in UTF-8, or too deeply nested; send a JSON object.")


def _expected_media_type(request: Request) -> str | None:
    """Return the media type that a request body should have, unless it has that."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.url.path == UPLOADS_PATH:
        return None if given == "multipart/form-data" else "multipart/form-data"
    is_json = given == "application/json" or (given.startswith("application/") and given.endswith("+json"))
    return None if is_json else "application/json"


def _handle_http_exception(request: Request, error: Exception) -> JSONResponse:
    """Convert errors of the framework: unknown route, wrong method, unreadable body."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return JSONResponse({"error": "Not found", "path": request.url.path[:200]}, 404)
    path = request.url.path
    if error.status_code == 405:
        allowed = ", ".join(_allowed_methods(request))
        return _error_response(ApiError(405, f"Method not allowed; use {allowed}."), path, {"Allow": allowed})
    if error.status_code == 400 and (path != UPLOADS_PATH or "content-encoding" in request.headers):
        return _error_response(_unreadable_body(request), path)
    message = f"{str(error.detail).rstrip('.')}."
    return _error_response(ApiError(error.status_code, message), path, dict(error.headers or {}))


def _allowed_methods(request: Request) -> list[str]:
    """Return all methods of a path; the framework only knows those of the first matching route."""
    operations = request.app.openapi()["paths"].get(request.url.path)
    if operations is not None:  # /api/jobs/predict also matches the route of a job's id
        methods = [method.upper() for method in operations]
    else:
        routes, scope = request.app.routes, request.scope
        methods = [
            method
            for method in ("GET", "POST", "DELETE")
            if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
        ]
    return ["GET", "HEAD", *methods[1:]] if methods[:1] == ["GET"] else methods


def _error_response(error: ApiError, path: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(error.document_for(path), error.status, headers=headers)


def _fix_openapi(document: dict[str, Any]) -> dict[str, Any]:
    """Adapt FastAPI's document: invalid requests get 400 instead of 422, errors are JSON, API keys are declared."""
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "If the server has API keys."},
        "bearer": {"type": "http", "scheme": "bearer"},
    }
    components["securitySchemes"]["basic"] = {
        "type": "http",
        "scheme": "basic",
        "description": "The key as password, with any user name; for browsers.",
    }
    document["security"] = [{}, {"key": []}, {"bearer": []}, {"basic": []}]
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            first, _, rest = operation["description"].partition("\n\n")
            operation["summary"], operation["description"] = first.removesuffix("."), rest
            stream = operation["responses"].get("200", {}).get("content", {}).get("text/event-stream")
            if stream is not None:  # FastAPI writes itemSchema, which is OpenAPI 3.2; few tools know it
                stream.pop("itemSchema", None)
                stream["schema"] = {"type": "string", "description": "Server-sent events; their data is a JobResponse."}
            for status, response in operation["responses"].items():
                if status >= "400" and "content" in response:  # FastAPI assumes the media type of the success
                    response["content"] = {"application/json": next(iter(response["content"].values()))}
    for schema in components.get("schemas", {}).values():
        for field in schema.get("properties", {}).values():
            if "contentMediaType" in field:  # generators of clients know the older word for a file
                field.setdefault("format", "binary")
    for name in ("HTTPValidationError", "ValidationError"):
        components.get("schemas", {}).pop(name, None)
    return document
