"""Whatever is asked for or typed, a page answers, and nobody else's data changes."""

from __future__ import annotations

import ast
import asyncio
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from sqlalchemy import select

from tests.support.described import KNOWN, openapi
from tests.support.guarantees import Guarantee
from tests.support.web_world import World, new_crowd
from triage import store
from triage.domain.link_tokens import Claims, Purpose
from triage.domain.records import EventKind
from triage.store.tables import events, subscribers
from triage.subscribers.sessions import SESSION, fingerprint


@dataclass
class Stranger:
    """Sends what it is told to, with tokens and a session of a subscriber who is still there."""

    world: World
    secret: str = ""
    reader: int = 1
    statuses: Counter[int] = field(default_factory=Counter)

    def known(self, path: str) -> dict[str, str]:
        """Return what is good now, by the place where it stands."""
        world, now = self.world, self.world.clock.now()
        with world.db.read() as conn:
            at = store.signups.session(conn, fingerprint(self.secret), now)
        if at is None:
            self._log_in()
        keyring = world.keyring
        purposes = {
            "p": Purpose.PAPER, "v": Purpose.VOTE, "u": Purpose.UNSUBSCRIBE, "c": Purpose.CONFIRM,
            "l": Purpose.LOGIN, "f": Purpose.FEED, "d": Purpose.DIGEST,
        }  # fmt: skip
        purpose = purposes.get(path.split("/")[1], Purpose.PAPER)
        action = EventKind.VOTE_UP if purpose is Purpose.VOTE else None
        chosen = world.slates[self.reader]
        with world.db.read() as conn:
            feed = store.digest_feeds.of(conn, world.readers[self.reader].id)
        slate = (feed[0] if feed else "") if purpose is Purpose.FEED else chosen.public_id
        claims = Claims(chosen.subscriber.public_id, now, slate, 1, action)
        at = str(int(now.timestamp() * 1000) - 5000)
        return {
            "token": keyring.sign(purpose, claims),
            "session": self.secret,
            "seal": keyring.seal(f"session {self.secret}"),
            "stamp": f"{at}.{keyring.seal(f'stamp {at}')}",
        }

    def _log_in(self) -> None:
        """Begin a session of the first subscriber from here on who was not erased."""
        world, now = self.world, self.world.clock.now()
        with world.db.write() as conn:
            while store.subscribers.by_public_id(conn, self._public_id()) is None:
                self.reader += 1
            id = world.readers[self.reader].id
            self.secret = f"secret-{now.timestamp()}"
            store.signups.begin_session(conn, fingerprint(self.secret), id, now, now + SESSION)
            if store.digest_feeds.of(conn, id) is None:
                store.digest_feeds.add(conn, id, f"feed{self.reader:016x}", now)

    def _public_id(self) -> str:
        return self.world.readers[self.reader].public_id

    def request(self, client: httpx.AsyncClient, case: Any) -> Any:
        """Return the request of a case, with what is good in the places that ask for it."""
        from requests import Request

        self.world.clock.sleep(7)
        told = case.as_transport_kwargs(base_url=self.world.site.base_url)
        prepared = Request(**told).prepare()
        known = self.known(case.path)
        body = prepared.body or b""
        content = body.encode() if isinstance(body, str) else body
        for name in ("seal", "stamp"):
            value = known[name].encode()
            content = content.replace(f"{name}={KNOWN}".encode(), f"{name}=".encode() + value)
            content = content.replace(
                f'name="{name}"\r\n\r\n{KNOWN}'.encode(), f'name="{name}"\r\n\r\n'.encode() + value
            )
        headers = {k: v for k, v in prepared.headers.items() if k.lower() != "content-length"}
        if "Cookie" in headers:
            headers["Cookie"] = headers["Cookie"].replace(KNOWN, known["session"])
        url = str(prepared.url).replace(KNOWN, known["token"])
        return client.build_request(case.method, url, headers=headers, content=content)


def rows_of(world: World, reader: int) -> list[tuple[Any, ...]]:
    id = world.readers[reader].id
    with world.db.read() as conn:
        own = conn.execute(select(subscribers).where(subscribers.c.id == id)).all()
        votes = conn.execute(select(events).where(events.c.subscriber_id == id)).all()
    return [tuple(row) for row in [*own, *votes]]


@pytest.mark.guarantee("R28")
def test_every_page_answers_whatever_it_is_asked(tmp_path: Path, guarantee: Guarantee) -> None:
    with warnings.catch_warnings():
        # What it or its own dependencies have deprecated is not ours to mend.
        warnings.simplefilter("ignore")
        import schemathesis
        from schemathesis import GenerationMode
        from schemathesis.checks import not_a_server_error
        from schemathesis.specs.openapi import checks as of_openapi

    checks = [
        not_a_server_error,
        of_openapi.status_code_conformance,
        of_openapi.content_type_conformance,
        of_openapi.response_schema_conformance,
    ]
    n_cases = 20_000 if guarantee.full else 100
    world = new_crowd(tmp_path, 1 + max(n_cases // 50, 10), 3)
    world.client().post("/v/" + world.vote(), data={"vote": "vote_up"})
    before, stranger = rows_of(world, 0), Stranger(world)
    app: Any = world.client().app
    strategies = []
    for anything in (False, True):
        schema = schemathesis.openapi.from_dict(openapi(app, anything=anything))
        operations = [each.ok() for each in schema.get_all_operations()]
        strategies += [each.as_strategy() for each in operations]
    strategies += [each.as_strategy(generation_mode=GenerationMode.NEGATIVE) for each in operations]
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    with asyncio.Runner() as runner:
        client = httpx.AsyncClient(transport=transport)

        def answers(case: Any) -> None:
            answer = runner.run(client.send(stranger.request(client, case)))
            stranger.statuses[answer.status_code] += 1
            assert answer.status_code < 500
            case.validate_response(answer, checks=checks)

        # Operations in turn: Hypothesis alone would stay with a few of them.
        while (n_left := n_cases - stranger.statuses.total()) > 0:
            n_each = -(-n_left // len(strategies))
            for cases in strategies:
                rules = settings(
                    max_examples=n_each,
                    phases=[Phase.generate, Phase.shrink],
                    suppress_health_check=list(HealthCheck),
                    database=None,
                )
                rules(given(case=cases)(answers))()
        runner.run(client.aclose())
    assert rows_of(world, 0) == before
    n = stranger.statuses.total()
    # Most of it reaches the pages; a form that is taken answers 303.
    assert stranger.statuses[200] + stranger.statuses[303] > 0.2 * n
    guarantee.record(
        cases=n, operations=len(operations), server_errors=0,
        answered_200=stranger.statuses[200], rows_of_others_changed=0,
    )  # fmt: skip


# -- statements are not built from text ------------------------------------------------------------

RUNS_SQL = {"text", "exec_driver_sql", "execute", "executemany", "executescript", "DDL"}


def built(node: ast.expr) -> bool:
    """Tell whether an expression puts text together at run time."""
    if isinstance(node, ast.JoinedStr):
        # A setting of a connection takes no parameters; numbers of ours stand in some.
        is_setting = ast.unparse(node.values[0]).lstrip("'\"").startswith("PRAGMA ")
        return not is_setting and any(isinstance(each, ast.FormattedValue) for each in node.values)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add | ast.Mod) and (
            is_text(node.left) or is_text(node.right)
        )
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"format", "join", "replace"}
        and is_text(node.func.value)
    )


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


@pytest.mark.guarantee("R28")
def test_no_statement_is_built_from_text(root: Path, guarantee: Guarantee) -> None:
    found, n = [], 0
    for path in sorted(root.glob("triage/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in RUNS_SQL:
                n += 1
                if built(node.args[0]):
                    found.append(f"{path.name}:{node.lineno}")
    assert n > 100
    assert found == []
    guarantee.record(calls_with_statements=n, statements_built_from_text=0)


@pytest.mark.parametrize(
    "line", ['text(f"DROP {x}")', 'execute("a" + x)', 'text("%s" % x)', 'text("{}".format(x))']
)
def test_a_statement_that_is_built_from_text_would_be_seen(line: str) -> None:
    [call] = [node for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Call)][:1]
    assert built(call.args[0])
