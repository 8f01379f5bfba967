"""The pages of the server: the workbench at ``/`` and the API reference at ``/docs``; neither needs another host.

- The workbench is one page and its static files, built from ``web/`` into ``assets/`` of this package. The page names
  its files relative to itself, so it works behind a proxy's path prefix.
- The reference is Swagger UI for the server's own OpenAPI document. Its files come from the package `fastapi_offline`.
  FastAPI's page, and that package's, start Swagger UI from an inline script, which the Content-Security-Policy of the
  page forbids; here the script is a file, ``docs.js``.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from importlib import resources
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC_PATH = "/static"
NOT_BUILT = "The workbench is not built: run 'make web' in the checkout, or install a released wheel."
_FOLDER = Path(str(resources.files("kronos.serve"))) / "assets"
# Names hold a hash of the content, so a new release has new addresses. "private": with API keys configured, a shared
# cache must not answer requests without a key.
_CACHE_CONTROL = "private, max-age=31536000, immutable"


def is_built(folder: Path = _FOLDER) -> bool:
    """Return whether the page has been built."""
    return (folder / "index.html").is_file()


def web_routes(folder: Path = _FOLDER) -> APIRouter:
    """Build the routes of the page.

    Args:
        folder: Output of the build; without it ``/`` says how to build the page, and where the API is documented.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page() -> Response:
        if not is_built(folder):
            return PlainTextResponse(f"{NOT_BUILT} The API is documented at docs.\n")
        # Not cached: the page names the static files of its release.
        return HTMLResponse((folder / "index.html").read_bytes(), headers={"Cache-Control": "no-cache"})

    if is_built(folder):
        # Compressed on the way: they are public, so their length reveals nothing.
        router.mount(STATIC_PATH, GZipMiddleware(_HashedFiles(directory=folder / "static"), minimum_size=1000))
    return router


class _HashedFiles(StaticFiles):
    """Files that never change under their name."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        if isinstance(response, FileResponse):
            response.headers["Cache-Control"] = _CACHE_CONTROL
        return response


_MEDIA_TYPES = {  # of every asset; not guessed, because Windows' registry may name others
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "docs.js": "text/javascript",
}


def docs_routes(app: FastAPI) -> APIRouter:
    """Build the routes ``/docs`` and ``/docs/{asset}``.

    Args:
        app: The application to document; its title becomes the page's.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_html(app.title))

    @router.get("/docs/{name}")
    async def asset(name: str) -> Response:
        if name not in _MEDIA_TYPES:
            raise HTTPException(404)
        return Response(_content(name), media_type=_MEDIA_TYPES[name], headers={"Cache-Control": _CACHE_CONTROL})

    return router


@cache
def docs_html(title: str) -> str:
    """Render the page. Its addresses are relative, so that it works behind a proxy's path prefix."""
    environment = Environment(loader=PackageLoader("kronos.serve"), autoescape=True, undefined=StrictUndefined)
    hashes = {name: hashlib.sha256(_content(name)).hexdigest()[:12] for name in _MEDIA_TYPES}
    addresses = {name: f"docs/{name}?v={digest}" for name, digest in hashes.items()}
    return environment.get_template("docs.html").render(title=title, assets=addresses)


@cache
def _content(name: str) -> bytes:
    """Read an asset: the start script is ours, the rest belongs to Swagger UI."""
    if name == "docs.js":
        return (resources.files("kronos.serve") / "templates" / name).read_bytes()
    return (resources.files("fastapi_offline") / "static" / name).read_bytes()
