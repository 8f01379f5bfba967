"""The page at ``/docs``: Swagger UI for the server's own OpenAPI document, without network.

The files of Swagger UI come from the package `fastapi_offline`. FastAPI's page, and that package's, start Swagger UI
from an inline script, which the Content-Security-Policy of the page forbids; here the script is a file, ``docs.js``.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException

_MEDIA_TYPES = {  # of every asset; not guessed, because Windows' registry may name others
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "docs.js": "text/javascript",
}
# The page adds a hash of the content to each address, so a new release has new addresses. "private": with API keys
# configured, a shared cache must not answer requests without a key.
_CACHE_CONTROL = "private, max-age=31536000, immutable"


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
