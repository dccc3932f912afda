"""The page to import a library: the papers in it that are stored become likes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
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
from triage.subscribers.named_papers import to_name
from triage.web.context import PageContext, form_route, with_own_form
from triage.web.forms import Fields
from triage.web.login_cookie import Login
from triage.web.middleware import BODY_LIMITS, BodyRefused

PATH: Final = "/import"
LARGEST: Final = BODY_LIMITS[PATH].size
# A file goes to the disk, but this stays in memory.
LONGEST_TEXT: Final = 2 * 1024 * 1024
SHOWN: Final = 20
MOST_LISTED: Final = 200
MOST_AUTHORS: Final = 8
LONGEST_NAME: Final = 100


def routes(page: PageContext) -> list[Route]:
    # A large library takes much memory while it is read.
    one_at_a_time = asyncio.Lock()

    async def endpoint(request: Request) -> Response:
        # The login is checked first, so that strangers cannot fill our disk with long files.
        login = await run_in_threadpool(page.login_cookie.read, request)
        if request.method != "POST":
            if login is None:
                return page.redirect(f"/login?{urlencode({'next': PATH})}")
            return await run_in_threadpool(_show, page, login, request)
        if login is None:
            raise HTTPException(403)
        form = await _read_form(request)
        try:
            async with one_at_a_time:
                return await run_in_threadpool(_import_library, page, request, form)
        finally:
            await form.close()

    return [
        Route(PATH, endpoint, methods=["GET", "POST"]),
        form_route("/follow", None, with_own_form(page, _follow_authors)),
    ]


async def _read_form(request: Request) -> FormData:
    """Return the form with its file, which is in a temporary file if it is over 1 MB."""
    try:
        return await request.form(max_files=1, max_fields=10, max_part_size=LONGEST_TEXT)
    except HTTPException:
        mb = LONGEST_TEXT // 1024**2
        why = f"A pasted list may have {mb} MB. Put a longer one into a file, and choose this."
        raise BodyRefused(413, why) from None


def _show(
    page: PageContext,
    login: Login,
    request: Request,
    *,
    report: LibraryReport | None = None,
    wrong: str = "",
    text: str = "",
    done: str = "",
) -> Response:
    new = report.new_likes[:SHOWN] if report else ()
    with page.db.read() as conn:
        papers = store.papers.load(conn, new)
        named = store.named_papers.outcome(conn, login.subscriber.id)
    followed = login.subscriber.followed_authors
    return page.show(
        request,
        "import",
        422 if wrong else 200,
        seal=login.seal,
        report=report,
        named=named,
        n_asked=_n_asked(page, report) if report else 0,
        new=[papers[id] for id in new if id in papers],
        most_listed=MOST_LISTED,
        authors=_frequent_authors(report.absent, followed) if report else [],
        wrong=wrong,
        text=text,
        done=done,
        largest_mb=LARGEST // 1024**2,
    )


def _import_library(page: PageContext, request: Request, form: FormData) -> Response:
    fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    login = page.login_cookie.check_form(request, fields)
    file = form.get("file")
    content = file.file.read() if isinstance(file, UploadFile) else b""
    text, author = fields.get("text", ""), fields.get("author", "").strip()[:LONGEST_NAME]
    library = content if content.strip() else text
    try:
        if library.strip():
            report = library_import.read_library(page.db, page.clock, login.subscriber, library)
        elif author:
            report = library_import.like_own(page.db, page.clock, login.subscriber, author)
        else:
            raise ConfigError("choose a file, paste a list, or write a name")
    except ConfigError as error:
        wrong = str(error)
        return _show(page, login, request, wrong=f"{wrong[:1].upper()}{wrong[1:]}.", text=text)
    return _show(page, login, request, report=report)


def _n_asked(page: PageContext, report: LibraryReport) -> int:
    """Return how many of the papers that are not stored can be fetched."""
    names = map(to_name, report.absent)
    return sum(name is not None and name.scheme in page.named_schemes for name in names)


def _frequent_authors(
    entries: Sequence[LibraryEntry], followed: Sequence[str]
) -> list[tuple[str, int]]:
    """Return authors of several of these entries who are not followed yet, most frequent first."""
    counts: Counter[str] = Counter()
    names: dict[str, str] = {}
    ignored = {author_key(name) for name in followed}
    for entry in entries:
        for key, name in {author_key(name): name for name in entry.authors}.items():
            names.setdefault(key, name)
            counts[key] += 1
    return [
        (names[key], n)
        for key, n in counts.most_common()
        if n > 1 and key not in ignored and 0 < len(names[key]) <= LONGEST_NAME
    ][:MOST_AUTHORS]


def _follow_authors(page: PageContext, login: Login, request: Request, fields: Fields) -> Response:
    before = login.subscriber.followed_authors
    names = tuple(dict.fromkeys([*before, *fields.getlist("author")]))
    try:
        changed = subscriptions.change(page.db, login.subscriber.public_id, followed_authors=names)
    except (ConfigError, NotFound):
        return _show(page, login, request, wrong="This did not work, and nothing was changed.")
    n = len(changed.followed_authors) - len(before)
    return page.redirect(PATH, f"You follow {n} more author{'s' if n != 1 else ''}.")
