"""The workbench at ``/``: one page and its static files, built from ``web/`` into ``assets/`` of this package.

The page names its files relative to itself, so it works behind a proxy's path prefix, and needs no other host.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
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
