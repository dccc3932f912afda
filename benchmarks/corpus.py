"""Measure importing six months of listings, and fitting and applying the encoder to them.

    python -m benchmarks.corpus

Targets, on two cores: import at least 3,000 records a second in at most 1 GiB; fit and encode at
most 150 s and 3 GiB.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import SHARED, peak_gib, record, skip

PAPERS = SHARED / "bench" / "listings-2026" / "papers.jsonl.gz"
N_RECORDS = 57_835
ENCODE = """
import sys
from datetime import date
from pathlib import Path
from triage.app.application import open_app
from triage.ranking.serving.active_models import encode_new, ensure_active_models
app = open_app(Path(sys.argv[1]))
pair = ensure_active_models(app.database, app.model_store, app.clock, date(2026, 5, 29))
encode_new(app.database, pair.encoder)
"""


def main() -> None:
    if not PAPERS.exists():
        skip("there is no listings-2026 beside the checkout")
    triage = [sys.executable, "-m", "triage"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*triage, "init", "--dir", folder], check=True, stdout=subprocess.DEVNULL)
        config = str(Path(folder) / "triage.toml")
        started = time.perf_counter()
        import_gib = peak_gib([*triage, "--config", config, "papers", "import", str(PAPERS)])
        imported = time.perf_counter()
        encode_gib = peak_gib([sys.executable, "-c", ENCODE, config])
        encoded = time.perf_counter()
    record(
        "python -m benchmarks.corpus",
        {
            "corpus_import_s": (round(imported - started, 1), f"s for {N_RECORDS:,} records"),
            "papers_import_per_s": (round(N_RECORDS / (imported - started)), "records a second"),
            "corpus_import_memory": (round(import_gib, 2), "GiB"),
            "corpus_encode_s": (round(encoded - imported, 1), "s to fit and encode 57,833 papers"),
            "corpus_encode_memory": (round(encode_gib, 2), "GiB"),
        },
    )


if __name__ == "__main__":
    main()
