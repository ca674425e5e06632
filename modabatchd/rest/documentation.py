"""The API's own description, for programs and for people (Swagger UI, served from this package)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from modabatchd.errors import UnknownArtifact
from modabatchd.rest.description import describe
from modabatchd.rest.operations import Answer, Operation, operation

_STATIC: Final = Path(__file__).parent / "static"

#: The files that are served, with their media types, and nothing else.
_FILES: Final[Mapping[str, tuple[Path, str]]] = MappingProxyType(
    {
        "swagger-ui.css": (_STATIC / "swagger-ui/swagger-ui.css", "text/css; charset=utf-8"),
        "swagger-ui-bundle.js": (_STATIC / "swagger-ui/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        "favicon-32x32.png": (_STATIC / "swagger-ui/favicon-32x32.png", "image/png"),
        "spec.js": (_STATIC / "spec.js", "text/javascript; charset=utf-8"),
    }
)

#: Swagger UI makes styles as it goes, and shows pictures that it carries in its own text.
_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_FRESH: Final = {"Cache-Control": "no-cache"}


class Documentation:
    """@param described: the operations that are described."""

    def __init__(self, described: Iterable[Operation]) -> None:
        self._specification = msgspec.json.format(msgspec.json.encode(describe(described)))
        self._files = {name: (path.read_bytes(), media) for name, (path, media) in _FILES.items()}
        self._page = (_STATIC / "spec.html").read_bytes()

    @operation("GET", "/", "Go to the page about the API", hidden=True)
    async def root(self, request: Any) -> Answer:
        """A browser that was pointed at the service gets somewhere."""
        return Answer(b"", 303, headers={"Location": "/api/spec.html"})

    @operation("GET", "/api/spec.json", "The description of the API (OpenAPI 3.1)", hidden=True)
    async def specification(self, request: Any) -> Answer:
        """What is read by programs."""
        return Answer(self._specification, headers=_FRESH)

    @operation("GET", "/api/spec.html", "The description of the API, to be read and tried out", hidden=True)
    async def page(self, request: Any) -> Answer:
        """What is read by people."""
        return Answer(self._page, media="text/html; charset=utf-8", headers=_FRESH | {"Content-Security-Policy": _PAGE_POLICY})

    @operation("GET", "/api/static/<name>", "A part of the page", hidden=True)
    async def part(self, request: Any, name: str) -> Answer:
        """Scripts and styles."""
        if name not in self._files:
            raise UnknownArtifact(f"There is no file {name[:100]!r} here.", "Start at /api/spec.html.")
        content, media = self._files[name]
        return Answer(content, media=media, headers=_FRESH)
