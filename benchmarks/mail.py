"""Measure the time to make the frozen bytes of a slate (target: about 6 ms for ten papers).

    python -m benchmarks.mail

The slate has ten papers with abstracts of 1,500 characters, links are signed, text and HTML are
rendered, and the message is built and checked. It measures processor time, so that other processes
matter less.
"""

from __future__ import annotations

import statistics
import time

from benchmarks.figures import record
from tests.support.digests import digest
from tests.support.factories import impression, paper, slate

N_PAPERS = 10
N_ROUNDS = 300
TARGET_MS = 6
SENTENCE = "We study how drafts of many lengths change the speed of decoding, and at what loss. "


def main() -> None:
    shown = tuple(
        impression(i, paper=paper(i, abstract=SENTENCE * 18, authors=("Ada Lovelace",) * 8))
        for i in range(1, N_PAPERS + 1)
    )
    made = slate(0, impressions=shown)
    digest(made)  # loads the templates
    times = []
    for _ in range(N_ROUNDS):
        started = time.process_time()
        size = len(digest(made).message.mime)
        times.append((time.process_time() - started) * 1000)
    print(f"{N_PAPERS} papers, {size:,} bytes; target: about {TARGET_MS} ms")
    record(
        "python -m benchmarks.mail",
        {"mail_ms": (round(statistics.median(times), 2), f"ms a digest of {N_PAPERS} papers")},
    )


if __name__ == "__main__":
    main()
