"""Load the pages with `wrk`, without and with a nightly run on the same database.

    python -m benchmarks.web

One process serves a SQLite database of 4,000 papers and 1,000 subscribers, each with a digest. One
`wrk` opens pages as subscribers and visitors do (of seventeen pages four are home, four of votes,
two each of a day, of a paper in a digest, of a paper, of a digest, one is a search; each with its
style sheet). Another one casts votes, and each vote changes the database. Both send the next
request as soon as the reply is there. Then the same while `triage run` makes the next digests of
240 subscribers and writes them to files. All share two cores. In between, the same load runs beside
1,100 clients that never read the answers to what they asked, and beside 1,100 that never ask.

Targets: 300 requests/s idle, 100 during a nightly, 99 of 100 votes within 250 ms, no errors, and no
fewer requests/s beside the 1,100 clients than without them.
"""

from __future__ import annotations

import gzip
import json
import random
import resource
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select, update

from benchmarks.figures import SHARED, record, skip
from tests.support.factories import impression, slate
from triage import store
from triage.app.application import App, open_app
from triage.domain.link_tokens import Claims, Purpose
from triage.domain.records import EventKind, SubscriberState
from triage.store.tables import events, impressions, papers, slates
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.sessions import SESSION, fingerprint
from triage.subscribers.subscriptions import add

PAPERS = SHARED / "bench" / "listings-2026" / "papers.jsonl.gz"
SCRIPT = Path(__file__).with_name("web.lua")
N_PAPERS = 4_000
N_SUBSCRIBERS = 1_000
N_DUE = 240
CONFIG = "[sources.arxiv]\nenabled = false\n[web]\noperator_port = 0\n"
SECONDS = 10
N_STUCK = 1_100
# More than the system takes of an answer that nobody reads.
STUCK = {
    "never_read": b"GET /style.css HTTP/1.1\r\nHost: localhost\r\n\r\n" * 16,
    "never_ask": b"",
}
# Of sixteen connections, four cast votes.
READING, VOTING = 12, 4
SEARCHES = ("attention+layer", "graph+neural+networks", "speculative+decoding", "protein+folding")


def main() -> None:
    wrk = shutil.which("wrk")
    if wrk is None:
        skip("wrk is not installed: run `make servers`")
    if not PAPERS.exists():
        skip("there is no listings-2026 beside the checkout")
    with TemporaryDirectory() as name:
        folder = Path(name)
        nightly = [*_triage(folder), "run", "--date"]
        days = _fill(folder)
        with closing(open_app(folder / "triage.toml")) as app, served(folder) as url:
            _write_requests(app, folder, days, url)
            reading, voting = _load(wrk, folder, url, 0)
            loads = {"idle": (reading, voting)}
            for name, sent in STUCK.items():
                with _stuck_clients(url, sent):
                    loads[name] = _load(wrk, folder, url, _n_cast(loads))
            running = subprocess.Popen([*nightly, days[-1]], stdout=-1, stderr=-3, text=True)
            # The run has started when its first digest is stored.
            while _n_slates(app, days[-1]) == 0 and running.poll() is None:
                time.sleep(0.1)
            before = _n_slates(app, days[-1])
            reading_then, voting_then = _load(wrk, folder, url, _n_cast(loads))
            loads["nightly"] = reading_then, voting_then
            made = _n_slates(app, days[-1]) - before
            beside = running.poll() is None
            said = running.communicate()[0]
            n_votes = _n_votes(app)
    assert running.returncode == 0, said
    counted = sum(votes["n"] for _, votes in loads.values())
    assert n_votes >= counted, f"{counted} votes were answered, {n_votes} are stored"
    print(f"{READING} connections read and {VOTING} vote; {voting['n']} votes idle, then")
    print(f"{voting_then['n']} while {made} digests were made; all {n_votes} are stored")
    if not beside:
        print("the nightly ended before the load did: it needs more subscribers")
    record(
        "python -m benchmarks.web",
        {
            "web_idle_per_s": (_rate(reading, voting), "requests/s, pages and votes"),
            "web_nightly_per_s": (_rate(reading_then, voting_then), "requests/s during a nightly"),
            "web_vote_p99_ms": (voting["p99_ms"], "ms, 99 of 100 votes, idle"),
            "web_vote_nightly_p99_ms": (voting_then["p99_ms"], "ms, the same during a nightly"),
            **{
                f"web_{name}_per_s": (
                    _rate(*loads[name]),
                    f"requests/s beside {N_STUCK} such clients",
                )
                for name in STUCK
            },
            "web_errors": (
                sum(each["errors"] for load in loads.values() for each in load),
                "errors",
            ),
        },
    )


def _triage(folder: Path) -> list[str]:
    return [sys.executable, "-m", "triage", "--config", str(folder / "triage.toml")]


def _fill(folder: Path) -> list[str]:
    """Make an installation with papers, subscribers and digests; return the days of the papers."""
    triage = [*_triage(folder)]
    init = [sys.executable, "-m", "triage", "init", "--dir", str(folder)]
    subprocess.run(init, check=True, stdout=subprocess.DEVNULL)
    (folder / "triage.toml").write_text(CONFIG)
    with gzip.open(PAPERS, "rt", encoding="utf-8") as lines:
        rows = sorted(map(json.loads, lines), key=lambda row: str(row["listed_date"]))[-N_PAPERS:]
    chosen = folder / "papers.jsonl"
    chosen.write_text("".join(json.dumps(row) + "\n" for row in rows))
    subprocess.run([*triage, "papers", "import", str(chosen)], check=True, stdout=-3)
    days = sorted({str(row["listed_date"]) for row in rows})
    with closing(open_app(folder / "triage.toml")) as app:
        step = N_PAPERS // N_SUBSCRIBERS
        for n, row in enumerate(rows[::step][:N_SUBSCRIBERS]):
            preferences = SubscriberPreferences(interests=row["title"][:200])
            add(app.database, f"reader.{n}@example.org", app.clock, preferences)
        # Whoever is first has theirs from the program, which learns to read the papers by it.
        first = ["run", "--date", days[-2], "--subscriber", "reader.0@example.org"]
        subprocess.run([*triage, *first], check=True, stdout=-3, stderr=-3)
        _give_digests(app, date.fromisoformat(days[-2]))
    return days


def _give_digests(app: App, on: date) -> None:
    """Store a digest for all others, and make only those due who are in the next run."""
    now = app.clock.now()
    with app.database.write() as conn:
        run_id = store.jobs.begin_run(conn, on, now)
        known = store.papers.listed_between(conn, on - timedelta(7), on)
        for reader in store.subscribers.everyone(conn)[1:]:
            chosen = random.Random(reader.id).sample(known, 10)  # noqa: S311 - the same each time
            shown = tuple(
                impression(place, paper=paper) for place, paper in enumerate(chosen, start=1)
            )
            given = slate(
                public_id=f"{reader.id:020x}", subscriber=reader, on=on, impressions=shown
            )
            store.slates.save_each(conn, [given], run_id, now)
            if reader.id > N_DUE:
                store.subscribers.set_state(conn, reader.id, SubscriberState.PAUSED, now)
        # As on a day on which some of the papers are spoken of elsewhere.
        conn.execute(update(papers).where(papers.c.id % 20 == 0).values(upvotes=papers.c.id % 97))


@contextmanager
def _stuck_clients(url: str, sent: bytes) -> Iterator[None]:
    """Open many connections, send this on each, and do no more."""
    parts = urlsplit(url)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2 * N_STUCK, hard), hard))
    with ExitStack() as clients:
        for _ in range(N_STUCK):
            client = clients.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((parts.hostname, parts.port))
            client.sendall(sent)
        yield


def _n_cast(loads: dict[str, tuple[dict[str, Any], dict[str, Any]]]) -> int:
    """Return how many votes were cast; those that are on their way at the end are not counted."""
    return sum(voting["n"] + VOTING for _, voting in loads.values())


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve an installation in a process of its own; return the address of the site."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    command = [*_triage(folder), "serve", "--pages-only", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(100):
                if _status(f"{url}/healthz") == 200:
                    break
                time.sleep(0.1)
            yield url
        finally:
            server.terminate()


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - loopback
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _write_requests(app: App, folder: Path, days: list[str], url: str) -> None:
    """Write the requests for pages and votes, with the tokens of the digests."""
    shown = (
        select(slates.c.public_id, slates.c.on, impressions.c.position, slates.c.subscriber_id)
        .join(impressions, impressions.c.slate_id == slates.c.id)
        .order_by(slates.c.id, impressions.c.position)
    )
    now = datetime.now(UTC)
    with app.database.write() as conn:
        people = {each.id: each for each in store.subscribers.everyone(conn)}
        rows = conn.execute(shown).all()
        last = select(papers.c.id).where(papers.c.listed_on == date.fromisoformat(days[-1]))
        newest = conn.scalars(last.limit(50)).all()
        cookies = {id: f"session-of-subscriber-{id:08d}-0123456789" for id in people}
        for id, secret in cookies.items():
            store.signups.begin_session(conn, fingerprint(secret), id, now, now + SESSION)

    def link(row: Any, purpose: Purpose, kind: EventKind | None = None) -> str:
        reader = people[row.subscriber_id].public_id
        claims = Claims(reader, now, row.public_id, row.position, kind)
        return ("/p/" if purpose is Purpose.PAPER else "/v/") + app.keyring.sign(purpose, claims)

    dice = random.Random(1)  # noqa: S311 - the same load each time
    dice.shuffle(rows)  # type: ignore[arg-type]
    search = _status(f"{url}/search?q=attention") == 200
    pages = []
    for n, row in enumerate(rows):
        opened = [
            "GET /",
            "GET /",
            f"GET /days/{days[n % len(days)]}",
            f"GET {link(row, Purpose.PAPER)}",
            f"GET {link(row, Purpose.VOTE, EventKind.VOTE_UP)}",
            f"GET {link(row, Purpose.VOTE, EventKind.SAVE)}",
            f"GET /papers/{newest[n % len(newest)]}",
            f"GET /digests/{row.on} session={cookies[row.subscriber_id]}",
        ]
        if n % 2 and search:
            opened.append(f"GET /search?q={SEARCHES[n // 2 % len(SEARCHES)]}")
        # Browsers may not cache these pages, so each page also loads its style sheet.
        pages += opened + ["GET /style.css"] * len(opened)
    dice.shuffle(pages)
    (folder / "pages").write_text("\n".join(pages))
    # Up on all papers, then down on all: so each vote is a change, however often it is repeated.
    kinds = (EventKind.VOTE_UP, EventKind.VOTE_DOWN)
    votes = [f"POST {link(r, Purpose.VOTE, kind)} vote={kind}" for kind in kinds for r in rows]
    (folder / "votes").write_text("\n".join(votes))


def _load(wrk: str, folder: Path, url: str, start: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run both loads for a while; return the results of pages and votes.

    Args:
        start: number of earlier votes.
    """
    running = []
    for n, name in ((READING, "pages"), (VOTING, "votes")):
        command = [wrk, "-t1", f"-c{n}", f"-d{SECONDS}s", "--timeout", "10s", "-s", str(SCRIPT)]
        command += [url, "--", str(folder / name), str(start)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    reading, voting = (json.loads(each.communicate()[0].splitlines()[-1]) for each in running)
    return reading, voting


def _rate(*told: dict[str, Any]) -> float:
    return round(sum(each["n"] / each["seconds"] for each in told), 1)


def _n_slates(app: App, on: str) -> int:
    with app.database.read() as conn:
        query = select(slates.c.id).where(slates.c.on == datetime.fromisoformat(on).date())
        return len(conn.execute(query).all())


def _n_votes(app: App) -> int:
    with app.database.read() as conn:
        return len(conn.execute(select(events.c.id)).all())


if __name__ == "__main__":
    main()
