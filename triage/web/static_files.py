"""The files beside the pages: style sheet, script and icon.

A page names a file with a fingerprint of its content, such as `/style.0123456789ab.css`, so that a
browser keeps it and never asks again. Without the fingerprint, or with an old one, the address
gives the current file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage.resources import templates_dir

_FOR_A_DAY: Final = "public, max-age=86400"
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_MEDIA_TYPES: Final = {
    "style.css": "text/css",
    "keys.js": "text/javascript",
    "favicon.svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file in `templates/web/`, in memory."""

    name: str
    content: bytes

    @property
    def fingerprint(self) -> str:
        """Part of the SHA-256 of the content."""
        return hashlib.sha256(self.content).hexdigest()[:12]

    @property
    def path(self) -> str:
        """The address with the fingerprint."""
        stem, _, ending = self.name.partition(".")
        return f"/{stem}.{self.fingerprint}.{ending}"

    def answer(self, fingerprint: str = "") -> Response:
        """Return the file; a browser may keep it forever if it asked for this very content."""
        kept = _FOR_EVER if fingerprint == self.fingerprint else _FOR_A_DAY
        return Response(
            self.content, media_type=_MEDIA_TYPES[self.name], headers={"Cache-Control": kept}
        )


def load_static_files() -> dict[str, StaticFile]:
    """Return all files by name.

    Raises:
        TriageError: the installation is incomplete.
    """
    folder = templates_dir() / "web"
    return {name: StaticFile(name, (folder / name).read_bytes()) for name in _MEDIA_TYPES}


def routes(files: dict[str, StaticFile]) -> list[Route]:
    found = []
    for file in files.values():
        stem, _, ending = file.name.partition(".")
        found += [
            _route(f"/{file.name}", file),
            _route(f"/{stem}.{{fingerprint}}.{ending}", file),
        ]
    # Browsers ask for it when a page is none of ours, such as an exported file.
    return [*found, _route("/favicon.ico", files["favicon.svg"])]


def _route(path: str, file: StaticFile) -> Route:
    # This is asynchronous because it does no I/O: a thread would cost more than the response.
    async def show(request: Request) -> Response:
        return file.answer(request.path_params.get("fingerprint", ""))

    return Route(path, show, methods=["GET"])
