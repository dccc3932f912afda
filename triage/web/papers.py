"""The page of one shown paper: everything that the mail had no room for."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage.identity import upstream_url
from triage.tokens import Purpose
from triage.web.pages import Desk
from triage.web.votes import WORDS, vote_tokens


def routes(desk: Desk) -> list[Route]:
    def show(request: Request) -> Response:
        claims = desk.claims(request, Purpose.PAPER)
        impression = desk.impression(claims)
        paper = impression.paper
        return desk.pages.show(
            "paper",
            impression=impression,
            paper=paper,
            upstream=upstream_url(paper.source, paper.source_id, paper.title),
            votes=[(WORDS[kind], token) for kind, token in vote_tokens(desk, claims)],
        )

    return [Route("/p/{token}", show, methods=["GET"])]
