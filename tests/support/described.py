"""What the pages take and answer, as OpenAPI 3.1: the routes are the application's own.

A route that is not described below may be asked for anything and may answer with a page.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route

KNOWN = "KNOWN"
"""Stands for a token, a session or a seal that is good at that moment."""

STRANGE = [
    "", " ", "'", '"', "';--", "' OR '1'='1", "1); DROP TABLE events;--", "%", "_", "\\", "\x00",
    "{{7*7}}", "${7*7}", "../../etc/passwd", "<script>", "\u202e", "\ufeff", "1" * 400, "-1",
    "1e400", "9223372036854775808", "2026-02-30", "0000-00-00", "١٢", "ß" * 90, "a@b", "\r\nX: y",
]  # fmt: skip

# The fields of each form, with values that mean something there.
FORMS: dict[str, dict[str, list[str]]] = {
    "/v/{token}": {
        "vote": ["vote_up", "vote_down", "save", "less_like_this", "none"],
        "stamp": [KNOWN],
        "back": ["/d/x", "//evil.example"],
    },
    "/u/{token}": {"List-Unsubscribe": ["One-Click"]},
    "/c/{token}": {"do": ["confirm"]},
    "/l/{token}": {"do": ["enter"], "code": ["123456"]},
    "/login": {"email": ["reader.1@example.org"]},
    "/subscribe": {
        "email": ["new@example.org"],
        "do": ["subscribe", "preview"],
        "stamp": [KNOWN],
        "website": [""],
        "interests": ["decoding"],
        "categories": ["cs.CL, stat.ML"],
        "likes": ["2603.00001"],
        "zone": ["Europe/Vienna"],
        "hour": ["7"],
    },
    "/preferences": {
        "do": ["save", "leave", "pause", "resume", "mute", "rest", "feed", "everywhere"],
        "number": ["1"],
        "interests": ["decoding"],
        "categories": ["cs.CL"],
        "followed_authors": ["Ada Lovelace"],
        "include_keywords": ["drafts"],
        "exclude_keywords": ["tokens"],
        "zone": ["UTC"],
        "hour": ["24"],
        "frequency": ["daily", "weekly"],
        "detail": ["tldr", "abstract"],
        "weekday": ["0", "6", "7"],
        "size": ["5"],
        "community": ["0.25"],
    },
    "/preferences/erase": {"sure": ["yes"]},
    "/authors": {"name": ["Ada Lovelace"], "do": ["follow", "unfollow"]},
    "/papers/{paper}": {"vote": ["vote_up", "save", "none"]},
    "/likes": {"paper": ["1"], "page": ["1"]},
    "/likes/forget": {"do": ["forget", "undo"]},
    "/saved": {"name": ["Thesis", "saved"], "query": ["", "q=drafts"]},
    "/saved/{id}": {"name": ["Papers"], "do": ["rename", "renew"]},
    "/saved/{id}/delete": {"do": ["keep", "unsave"]},
    "/papers/{paper}/save": {"collection": ["0", "1"], "name": ["", "New"], "back": ["/likes"]},
    "/import": {"text": ["2603.00001", "@article{a, title={B}}"], "author": ["Ada"], "file": [""]},
    "/follow": {"author": ["Ada Lovelace"]},
    "/logout": {},
}
QUERIES: dict[str, dict[str, list[str]]] = {
    "/": {"page": ["1", "2"]},
    "/days/{on}": {"page": ["1", "2"]},
    "/likes": {"page": ["1", "2"]},
    "/authors": {"name": ["Ada Lovelace"], "page": ["1", "2"]},
    "/search": {
        "q": ["decoding", '"speculative decoding" -draft', "author:lovelace"],
        "like": ["1"],
        "page": ["1", "2"],
        "category": ["cs.CL cs.LG"],
        "source": ["arxiv"],
        "author": ["Lovelace"],
        "since": ["2026-03-01"],
        "until": ["2026-03-03"],
    },
}
IN_PATHS = {
    "on": ["2026-03-02", "2026-13-41", "'"],
    "paper": ["1", "2", "'", "9223372036854775808"],
    "id": ["1", "2", "'"],
    "category": ["cs.CL", "cs", "'"],
    "ending": ["bib", "ris", "'"],
    "file": ["likes.bib", "likes.json", "everything.json", "'"],
}
MEDIA_TYPES: dict[str, list[str]] = {
    "/f/{token}.atom": ["application/atom+xml"],
    "/f/{token}.json": ["application/feed+json"],
    "/categories/{category}.atom": ["application/atom+xml"],
    "/categories/{category}.json": ["application/feed+json"],
    "/saved/{id}/papers.{ending}": [
        "application/x-bibtex", "application/x-research-info-systems", "text/csv",
        "application/vnd.citationstyles.csl+json",
    ],
    "/style.css": ["text/css"],
    "/style.{fingerprint}.css": ["text/css"],
    "/keys.js": ["text/javascript"],
    "/keys.{fingerprint}.js": ["text/javascript"],
    "/favicon.svg": ["image/svg+xml"],
    "/favicon.{fingerprint}.svg": ["image/svg+xml"],
    "/favicon.ico": ["image/svg+xml"],
    "/healthz": ["text/plain"],
    "/readyz": ["text/plain"],
    "/metrics": ["text/plain"],
    "/papers/{paper}/cite.{ending}": [
        "application/x-bibtex", "application/x-research-info-systems",
    ],
    "/mine/{file}": [
        "application/x-bibtex", "application/x-research-info-systems", "text/csv",
        "application/vnd.citationstyles.csl+json", "application/json",
    ],
}  # fmt: skip
SCHEMAS: dict[str, dict[str, Any]] = {
    "application/feed+json": {
        "type": "object",
        "required": ["version", "title", "items"],
        "properties": {
            "version": {"const": "https://jsonfeed.org/version/1.1"},
            "title": {"type": "string"},
            "items": {
                "type": "array",
                "items": {"type": "object", "required": ["id"]},
            },
        },
    },
    "application/vnd.citationstyles.csl+json": {"type": "array", "items": {"type": "object"}},
    "application/json": {"type": "object"},
}
STATUSES = (200, 401, 403, 404, 410, 413, 421, 422, 429, 431)


def openapi(app: Starlette, *, anything: bool) -> dict[str, Any]:
    """Describe every route of an application.

    Args:
        anything: every text is good; else only what means something, and the strangest.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in app.routes:
        assert isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}:
            paths.setdefault(route.path, {})[method.lower()] = _operation(
                route.path, method, anything
            )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pages", "version": "1"},
        "paths": paths,
    }


def _operation(path: str, method: str, anything: bool) -> dict[str, Any]:
    def text(values: list[str]) -> dict[str, Any]:
        if anything:
            return {"type": "string"}
        # Nobody can make up what is known, and without it a request does not get far.
        return {"enum": values if KNOWN in values else [*values, *STRANGE]}

    def in_path(name: str) -> dict[str, Any]:
        return {"type": "string"} if anything else {"enum": IN_PATHS.get(name, [KNOWN])}

    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": in_path(name)}
        for name in re.findall(r"\{(\w+)\}", path)
    ]
    parameters += [
        {"name": name, "in": "query", "schema": text(values)}
        for name, values in QUERIES.get(path, {}).items()
    ]
    parameters.append(
        {
            "name": "__Host-session",
            "in": "cookie",
            "required": not anything,
            "schema": {"enum": [KNOWN]},
        }
    )
    media_types = ["text/html", *MEDIA_TYPES.get(path, [])]
    operation: dict[str, Any] = {
        "parameters": parameters,
        "responses": {
            # Where the answer is another page, it has no content of its own.
            "303": {"description": "see there"},
            **{
                str(status): {
                    "description": "see the pages",
                    "content": {
                        each: {"schema": SCHEMAS[each]} if each in SCHEMAS else {}
                        for each in media_types
                    },
                }
                for status in STATUSES
            },
        },
    }
    if method == "POST":
        fields = FORMS.get(path, {"do": [], "text": []}) | {"seal": [KNOWN]}
        form = {
            "schema": {
                "type": "object",
                "required": [] if anything else sorted(fields),
                "properties": {name: text(values) for name, values in fields.items()},
            }
        }
        encodings = ("application/x-www-form-urlencoded", "multipart/form-data")
        operation["requestBody"] = {"content": dict.fromkeys(encodings, form)}
    return operation
