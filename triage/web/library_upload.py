"""A reader's own library, given by who is logged in: what is known of it becomes likes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage import store
from triage.domain.author_names import author_key
from triage.errors import ConfigError, NotFound
from triage.subscribers import library_import, subscriptions
from triage.subscribers.bibliography.entries import LibraryEntry
from triage.subscribers.library_import import LibraryReport
from triage.web.context import PageContext, form_route
from triage.web.forms import Pairs
from triage.web.login_cookie import Login
from triage.web.middleware import BODY_LIMITS

PATH: Final = "/import"
LARGEST: Final = BODY_LIMITS[PATH]
SHOWN: Final = 20
MOST_LISTED: Final = 200
MOST_AUTHORS: Final = 8
LONGEST_NAME: Final = 100


def routes(desk: PageContext) -> list[Route]:
    async def importing(request: Request) -> Response:
        # Whoever is not known is not read at length, either.
        visit = await run_in_threadpool(desk.door.visit, request)
        if request.method != "POST":
            return _page(desk, visit) if visit else desk.pages.show("preferences_locked")
        if visit is None:
            raise HTTPException(403)
        fields, content = await _given(request)
        return await run_in_threadpool(_taken, desk, request, fields, content)

    return [
        Route(PATH, importing, methods=["GET", "POST"]),
        form_route("/follow", None, partial(_followed, desk)),
    ]


async def _given(request: Request) -> tuple[dict[str, str], bytes]:
    """Return the fields of the form, and what the file holds that came with it."""
    try:
        async with request.form(max_files=1, max_fields=10, max_part_size=LARGEST) as form:
            file = form.get("file")
            content = await file.read() if isinstance(file, UploadFile) else b""
            return {name: v for name, v in form.multi_items() if isinstance(v, str)}, content
    except HTTPException:
        return {}, b""


def _page(
    desk: PageContext,
    visit: Login,
    status: int = 200,
    *,
    report: LibraryReport | None = None,
    wrong: str = "",
    text: str = "",
    done: str = "",
) -> Response:
    new = report.new_likes[:SHOWN] if report else ()
    with desk.db.read() as conn:
        papers = store.papers.load(conn, new)
    return desk.pages.show(
        "import",
        status,
        seal=visit.seal,
        report=report,
        new=[papers[id] for id in new if id in papers],
        most_listed=MOST_LISTED,
        authors=_often(report.absent, visit.reader.followed_authors) if report else [],
        wrong=wrong,
        text=text,
        done=done,
        largest_mb=LARGEST // 1024**2,
    )


def _taken(desk: PageContext, request: Request, fields: dict[str, str], content: bytes) -> Response:
    visit = desk.door.admit(request, fields)
    text, author = fields.get("text", ""), fields.get("author", "").strip()[:LONGEST_NAME]
    try:
        if content.strip():
            report = library_import.read_library(desk.db, desk.clock, visit.reader, content)
        elif text.strip():
            report = library_import.read_library(desk.db, desk.clock, visit.reader, text)
        elif author:
            report = library_import.like_own(desk.db, desk.clock, visit.reader, author)
        else:
            raise ConfigError("choose a file, paste something, or write a name")
    except ConfigError as error:
        wrong = str(error)
        return _page(desk, visit, 422, wrong=f"{wrong[:1].upper()}{wrong[1:]}.", text=text)
    return _page(desk, visit, report=report)


def _often(entries: Sequence[LibraryEntry], followed: Sequence[str]) -> list[tuple[str, int]]:
    """Return who wrote several of these entries and is not followed yet, most first."""
    counts: Counter[str] = Counter()
    names: dict[str, str] = {}
    known = {author_key(name) for name in followed}
    for entry in entries:
        for key, name in {author_key(name): name for name in entry.authors}.items():
            names.setdefault(key, name)
            counts[key] += 1
    often = [(names[key], n) for key, n in counts.most_common() if n > 1 and key not in known]
    return [each for each in often if 0 < len(each[0]) <= LONGEST_NAME][:MOST_AUTHORS]


def _followed(desk: PageContext, request: Request, pairs: Pairs) -> Response:
    visit = desk.door.admit(request, dict(pairs))
    before = visit.reader.followed_authors
    chosen = dict.fromkeys([*before, *(value for name, value in pairs if name == "author")])
    try:
        changed = subscriptions.change(
            desk.db, visit.reader.public_id, followed_authors=tuple(chosen)
        )
    except (ConfigError, NotFound):
        return _page(desk, visit, 422, wrong="That could not be done; nothing was changed.")
    n = len(changed.followed_authors) - len(before)
    return _page(desk, visit, done=f"You follow {n} more author{'s' if n != 1 else ''}.")
