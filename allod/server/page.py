"""The owner's page: the files of `allod/static`, as built by `make web`.

Promises: no script, style or request of anybody else's is allowed to it; a path of the page that is no file gives
`index.html`, a path of the API never does; files named by their hash are kept for a year, everything else is asked for
again.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
FOREVER = "public, max-age=31536000, immutable"
API = ("/v1", "/livez", "/readyz", "/metrics")
NOT_BUILT = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>Allod</title>"
    "<p>The page is not built here: run <code>make web</code> and reload. The API answers at /v1.</p></html>"
)


def static_folder() -> Path:
    """Where the built page lies."""
    return Path(str(files("allod"))) / "static"


class Page:
    """What the application does with paths that are no route's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = GZipMiddleware(_Files(folder), minimum_size=1000)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a file, the page, or say that there is nothing."""
        path = scope["path"]
        if path.startswith(tuple(f"{one}/" for one in API)) or path in API:
            raise HTTPException(404)
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(404)
        scope["allod.route"] = "(page)"
        if not (self._folder / "index.html").is_file():
            await HTMLResponse(NOT_BUILT, 503, {"content-security-policy": POLICY})(scope, receive, send)
            return
        await self._files(scope, receive, send)


class _Files:
    """The files themselves, uncompressed."""

    def __init__(self, folder: Path) -> None:
        self._static = StaticFiles(directory=folder, check_dir=False, follow_symlink=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].lstrip("/") or "index.html"
        response = await self._find(path, scope)
        response.headers["content-security-policy"] = POLICY
        response.headers["cache-control"] = FOREVER if path.startswith("assets/") else "no-cache"
        await response(scope, receive, send)

    async def _find(self, path: str, scope: Scope) -> Response:
        if "\0" in path:
            raise HTTPException(404)
        try:
            return await self._static.get_response(path, scope)
        except HTTPException:
            if "." in path.rpartition("/")[2] or "html" not in Headers(scope=scope).get("accept", "text/html"):
                raise HTTPException(404) from None
            return await self._static.get_response("index.html", scope)
