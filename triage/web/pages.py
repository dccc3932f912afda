"""Templates to responses, and what the modules of the pages share."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parseaddr
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse

from triage import feedback
from triage._assets import templates_dir
from triage.errors import NotFound, TokenError, TokenExpired
from triage.ports import Clock
from triage.records import Impression
from triage.store import Database
from triage.tokens import Claims, Keyring, Purpose


class Site(Protocol):
    """What pages say about the installation."""

    @property
    def name(self) -> str: ...

    @property
    def base_url(self) -> str: ...

    @property
    def contact(self) -> str: ...


class Pages:
    """Renders `templates/web/<name>.html`; text from papers is always escaped."""

    def __init__(self, site: Site) -> None:
        folder = templates_dir() / "web"
        self.style = (folder / "style.css").read_text(encoding="utf-8")
        self._environment = Environment(
            loader=FileSystemLoader(folder),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(
            site=site,
            root=urlsplit(site.base_url).path.rstrip("/"),
            contact=parseaddr(site.contact)[1],
        )

    def show(self, name: str, status: int = 200, **values: object) -> HTMLResponse:
        template = self._environment.get_template(f"{name}.html")
        return HTMLResponse(template.render(values), status)


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything that an endpoint may use."""

    db: Database
    keyring: Keyring
    clock: Clock
    pages: Pages

    def claims(self, request: Request, purpose: Purpose) -> Claims:
        """Read the token in the address.

        Raises:
            HTTPException: 410 for a token whose time is over, 404 for any other that is not good.
        """
        try:
            return self.keyring.verify(request.path_params["token"], purpose, self.clock.now())
        except TokenExpired:
            raise HTTPException(410) from None
        except TokenError:
            raise HTTPException(404) from None

    def impression(self, claims: Claims) -> Impression:
        """Return the shown paper that a link is about.

        Raises:
            HTTPException: 404 when its digest is no longer stored.
        """
        try:
            return feedback.shown(self.db, claims)
        except NotFound:
            raise HTTPException(404) from None


async def form_fields(request: Request) -> list[tuple[str, str]]:
    """Return the text fields of a form in either encoding; none when it cannot be read.

    A body without a content type is taken as urlencoded: senders of one-click requests forget it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        try:
            async with request.form() as form:
                return [(name, v) for name, v in form.multi_items() if isinstance(v, str)]
        except HTTPException:
            return []
    if kind in {"", "application/x-www-form-urlencoded"}:
        return parse_qsl((await request.body()).decode("utf-8", "replace"))
    return []
