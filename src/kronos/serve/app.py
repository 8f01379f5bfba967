"""The application: routes, what wraps them, what starts and stops with it."""

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
from starlette.routing import Match

from kronos import __version__
from kronos.errors import KronosError
from kronos.sandbox import FileNotListed
from kronos.serve.docs_page import docs_routes
from kronos.serve.errors import ApiError, to_api_error
from kronos.serve.middleware import EdgeMiddleware
from kronos.serve.observability import configure
from kronos.serve.routes.health import health_routes
from kronos.serve.routes.jobs import job_routes
from kronos.serve.routes.predictions import prediction_routes, ready_predictions
from kronos.serve.routes.udf import udf_routes
from kronos.serve.routes.workbench import result_routes, workbench_routes
from kronos.serve.state import AppState, build_state
from kronos.settings import get_settings

_DESCRIPTION = (
    "Forecasts of candlesticks over HTTP. It reads public market data only and never trades; a forecast is no "
    "investment advice."
)
_log = logging.getLogger(__name__)


def create_app(state: AppState) -> FastAPI:
    """The application of one server.

    Args:
        state: What it is made of; its engine is started and stopped with the application.
    """
    app = FastAPI(
        title="Kronos",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(state),
        redirect_slashes=False,
    )
    app.state.kronos = state
    for routes in (prediction_routes, workbench_routes, job_routes, result_routes, udf_routes, health_routes):
        app.include_router(routes(state))
    app.include_router(docs_routes(app))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    for kind in (ApiError, KronosError, TimeoutError, MemoryError):  # whatever else happens is the gate's to answer
        app.add_exception_handler(kind, _handle_error)
    app.add_middleware(EdgeMiddleware, rules=state.rules, ready={"/api/predict": ready_predictions(state)})
    original = app.openapi

    def openapi() -> dict[str, Any]:
        """The document, once, with the errors that are answered instead of those FastAPI expects."""
        if app.openapi_schema is None:
            app.openapi_schema = _fix_openapi(original())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def from_environment() -> FastAPI:
    """The application as the environment configures it: what each process of ``--reload`` calls."""
    configure(machine=not sys.stderr.isatty(), verbose=True)
    return create_app(build_state(get_settings()))


def _lifespan(state: AppState) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        state.engine.start()
        warming = asyncio.wrap_future(state.loader.submit(_warm, state))
        try:
            yield
        finally:
            state.close()
            await state.jobs.close()
            warming.cancel()

    return lifespan


def _warm(state: AppState) -> None:
    """Load the default model; a failure is told by ``/ready``, and tried again when a forecast needs it."""
    try:
        state.models.get(state.models.default)
    except Exception as error:  # noqa: BLE001 (whatever it is, the server serves)
        _log.warning("the model could not be loaded", extra={"reason": str(error)})
    if state.settle:
        # With torch and pandas loaded, a full collection holds every request for a tenth of a second.
        gc.collect()
        gc.freeze()


def _invalid(_: Request, error: Exception) -> JSONResponse:
    """What is wrong with a request, by the name of the field."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    if first["type"] == "json_invalid":
        return _answer(ApiError(400, "The body is no JSON; send a JSON object."))
    return _answer(ApiError(400, f"{where[:100]}: {str(first['msg'])[:300]}."))


def _refused(request: Request, error: Exception) -> JSONResponse:
    """What the framework itself refuses: no such route, no such method, an unreadable body."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return JSONResponse({"error": "Not found", "path": request.url.path[:200]}, 404)
    if error.status_code == 405:
        allowed = ", ".join(_methods(request))
        return _answer(ApiError(405, f"This route takes {allowed}."), {"Allow": allowed})
    return _answer(ApiError(error.status_code, f"{error.detail}."), dict(error.headers or {}))


def _methods(request: Request) -> list[str]:
    """All that a path can be asked by; the framework names those of one of its routes only."""
    named = request.app.openapi()["paths"].get(request.url.path)
    if named is not None:  # /api/jobs/predict is no job's id, although that route matches too
        return [method.upper() for method in named]
    routes, scope = request.app.routes, request.scope
    return [
        method
        for method in ("GET", "POST", "DELETE")
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    ]


def _handle_error(_: Request, error: Exception) -> JSONResponse:
    """What a route's work came to grief with."""
    return _answer(ApiError(404, str(error)) if isinstance(error, FileNotListed) else to_api_error(error))


def _answer(fault: ApiError, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(fault.document, fault.status, headers={**(headers or {}), **fault.headers})


def _fix_openapi(document: dict[str, Any]) -> dict[str, Any]:
    """The document without the 422 that FastAPI would answer (a wrong request gets 400 here), and with the keys."""
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "Where the server has keys."},
        "bearer": {"type": "http", "scheme": "bearer"},
    }
    document["security"] = [{}, {"key": []}, {"bearer": []}]
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            first, _, rest = operation["description"].partition("\n\n")
            operation["summary"], operation["description"] = first.removesuffix("."), rest
            for status, response in operation["responses"].items():
                if status >= "400" and "content" in response:  # errors are JSON, whatever a success would be
                    response["content"] = {"application/json": next(iter(response["content"].values()))}
    for name in ("HTTPValidationError", "ValidationError"):
        components.get("schemas", {}).pop(name, None)
    return document
