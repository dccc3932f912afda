"""Measure catching up half a year of arXiv, and fetching a normal day from five sources.

    python -m benchmarks.catchup

The servers are on loopback, without waits between requests. Targets, on two cores: 57,835 records
through OAI-PMH into the store in at most 3 minutes and 500 MiB; a normal day of 1,500 records from
five sources in at most 15 seconds.
"""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.figures import SHARED, peak_gib, record, skip
from tests.support.biorxiv_server import Preprints
from tests.support.emulator import Upstreams
from triage import store
from triage.app.application import open_app

PAPERS = SHARED / "bench" / "listings-2026" / "papers.jsonl.gz"
# Every paper of the listings is in one of these.
CATEGORIES = (
    "cs.AI cs.CV cs.CL astro-ph.GA astro-ph.CO cs.IR cs.IT astro-ph.IM cs.GT cs.CE cs.RO cs.GR"
    " cs.LG eess.SY"
).split()
PAGE = 1_000
# With every eighth of arXiv's at Hugging Face, and the preprints at each of two servers: 1,500.
N_ARXIV, N_PREPRINTS, N_FEED = 1_000, 150, 75
N_RECORDS = 1_500
TRIAGE = [sys.executable, "-m", "triage"]


def main() -> None:
    if not PAPERS.exists():
        skip("there is no listings-2026 beside the checkout")
    with gzip.open(PAPERS) as lines:
        records = [{"authors": []} | json.loads(line) for line in lines]
    record("python -m benchmarks.catchup", {**catch_up(records), **normal_day(records)})


def catch_up(records: list[dict[str, Any]]) -> dict[str, tuple[float, str]]:
    """Read all records by OAI-PMH into an empty store.

    Papers older than two months with a new cross-listing are not stored.
    """
    days = sorted(date.fromisoformat(record["listed_date"]) for record in records)
    with tempfile.TemporaryDirectory() as name, Upstreams(records, log=Forgetful()) as upstreams:
        upstreams.oai_page = PAGE
        upstreams.show(days[-1] + timedelta(days=3))
        config = install(Path(name), f"[sources.arxiv]\n{arxiv(upstreams)}")
        command = [*TRIAGE, "--config", config, "fetch", "--source", "arxiv"]
        command += ["--since", str(days[0]), "--date", str(days[-1] + timedelta(days=3))]
        started, spent = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        gib = peak_gib(command)
        seconds = time.perf_counter() - started
        cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = cpu.ru_utime + cpu.ru_stime - spent.ru_utime - spent.ru_stime
        print(f"{n_stored(config):,} papers stored of {len({each['id'] for each in records}):,}")
    return {
        "catchup_s": (round(seconds, 1), f"s for {len(records):,} records by OAI-PMH"),
        "catchup_cpu_s": (round(cpu_s, 1), "s of processor time for the same"),
        "catchup_memory": (round(gib * 1024), "MiB"),
    }


def normal_day(records: list[dict[str, Any]]) -> dict[str, tuple[float, str]]:
    """Fetch a day of arXiv, Hugging Face, bioRxiv, medRxiv and a feed, into an empty store."""
    (on, _), *_ = Counter(record["listed_date"] for record in records).most_common()
    day = [record for record in records if record["listed_date"] == on][:N_ARXIV]
    feed = ThreadingHTTPServer(("127.0.0.1", 0), Feed)
    threading.Thread(target=feed.serve_forever, args=(0.02,), daemon=True).start()
    with (
        tempfile.TemporaryDirectory() as name,
        Upstreams(day) as upstreams,
        Preprints() as preprints,
        closing(feed.socket),
    ):
        upstreams.show(date.fromisoformat(on))
        preprints.post(date.fromisoformat(on), N_PREPRINTS)
        preprints.change = of_medicine
        settings = f"""
            [sources.arxiv]
            {arxiv(upstreams)}
            [sources.hf_daily]
            enabled = true
            trending = false
            url = "{upstreams.hf_url}"
            min_interval_s = 0
            [sources.biorxiv]
            enabled = true
            url = "{preprints.url}"
            min_interval_s = 0
            [[sources.feed]]
            name = "links"
            url = "http://127.0.0.1:{feed.server_address[1]}/feed.json"
            allow_private = true
            """
        config = install(Path(name), settings)
        started = time.perf_counter()
        done = subprocess.run(
            [*TRIAGE, "--config", config, "fetch", "--date", on, "--json"],
            stdout=subprocess.PIPE,
            check=True,
        )
        seconds = time.perf_counter() - started
        feed.shutdown()
    got = {row["source"]: row["got"] for row in json.loads(done.stdout) if row["on"] == on}
    n_read = sum(got.values())
    print(", ".join(f"{n:,} of {name}" for name, n in got.items()))
    assert len(got) == 5
    assert n_read >= N_RECORDS
    return {"fetch_day_s": (round(seconds, 1), f"s for {n_read:,} records of five sources")}


def of_medicine(path: str, body: bytes) -> bytes:
    """Give medRxiv papers of its own."""
    if "/medrxiv/" not in path:
        return body
    return body.replace(b"macaques", b"patients").replace(b'"10.64898/', b'"10.1101/')


def arxiv(upstreams: Upstreams) -> str:
    return f"""
        categories = {json.dumps(CATEGORIES)}
        rss_url = "{upstreams.rss_url}"
        api_url = "{upstreams.api_url}"
        oai_url = "{upstreams.oai_url}"
        min_interval_s = 0
        daily_requests = 100000
        """


def install(folder: Path, settings: str) -> str:
    """Make an installation with these settings, and return its config file."""
    subprocess.run([*TRIAGE, "init", "--dir", folder], check=True, stdout=subprocess.DEVNULL)
    config = folder / "triage.toml"
    config.write_text(settings, "utf-8")
    return str(config)


def n_stored(config: str) -> int:
    """Return how many papers an installation has."""
    app = open_app(Path(config))
    with closing(app), app.database.read() as conn:
        return store.papers.count(conn)


class Forgetful(list[Any]):
    """Stores no requests, so that the server needs little memory and time."""

    def append(self, _asked: Any) -> None:
        pass


class Feed(BaseHTTPRequestHandler):
    """Serves one JSON Feed of made-up links."""

    def do_GET(self) -> None:
        entries = [
            {
                "id": f"https://example.org/{n}",
                "url": f"https://example.org/{n}",
                "title": f"A report on {n} experiments",
                "content_text": f"We describe {n} experiments and what came of them.",
            }
            for n in range(N_FEED)
        ]
        feed = {"version": "https://jsonfeed.org/version/1.1", "title": "Links", "items": entries}
        body = json.dumps(feed).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/feed+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    main()
