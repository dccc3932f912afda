"""Measure what it costs to fit the encoder on five months of listings and to encode them all.

    python -m benchmarks.encoder

Prints one JSON object. The listings lie beside the checkout; without them it says so and ends.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
PAPERS = SHARED / "bench" / "listings-2026" / "papers.jsonl.gz"
MOST_SECONDS, MOST_GIB = 150, 3


def main() -> int:
    if not PAPERS.exists():
        print(f"skipped: there is no {PAPERS.name} of listings-2026 beside the checkout")
        return 0
    from triage.encoder import TextEncoder

    with gzip.open(PAPERS, "rt", encoding="utf-8") as lines:
        papers = [json.loads(line) for line in lines]
    texts = [f"{paper['title']}\n{paper['abstract']}" for paper in papers]
    start = time.perf_counter()
    encoder = TextEncoder.fit(texts)
    fitted = time.perf_counter()
    encodings = encoder.encode(texts)
    ended = time.perf_counter()
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    figures = {
        "papers": len(texts),
        "terms": encodings.words.shape[1],
        "dimensions": encodings.dense.shape[1],
        "fit_s": round(fitted - start, 1),
        "encode_s": round(ended - fitted, 1),
        "total_s": round(ended - start, 1),
        "peak_gib": round(gib, 2),
    }
    print(json.dumps(figures))
    return 0 if figures["total_s"] <= MOST_SECONDS and gib <= MOST_GIB else 1


if __name__ == "__main__":
    sys.exit(main())
