"""Train the ranker that comes with the program anew: `make pretrained`.

    OMP_NUM_THREADS=1 python -m benchmarks.pretrain

Writes triage/ranking/pretrained/ and the hash of its manifest into the module. The data are the
reading lists of listings-2025 (CC0 metadata and public lists); the same data and libraries give
the same bytes, as one thread adds numbers in one order.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path

from benchmarks.figures import SHARED, skip
from triage.ranking import model_files
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.serving import pretrained_ranker
from triage.ranking.serving.model_store import ModelStore
from triage.training import pretrain
from triage.training.dataset import Group
from triage.training.evaluation import benchmark
from triage.training.evaluation.benchmark import Benchmark

NAME = "listings-2025"


def main() -> None:
    if not (SHARED / "bench").exists():
        skip("there is no benchmark data beside the checkout")
    scorer = pretrain.fit(groups(benchmark.read(SHARED / "bench" / NAME)))
    scorer.save(pretrained_ranker.FOLDER, pretrained_ranker.PUBLIC_KEY)
    manifest = (pretrained_ranker.FOLDER / model_files.MANIFEST).read_bytes()
    digest = hashlib.sha256(manifest).hexdigest()
    module = Path(pretrained_ranker.__file__)
    line = re.sub(
        '(?m)^MANIFEST_SHA256 = ".*"$', f'MANIFEST_SHA256 = "{digest}"', module.read_text()
    )
    module.write_text(line)
    print(f"{scorer.version}, manifest {digest}")


def groups(data: Benchmark) -> list[Group]:
    """Return the query groups that the ranker is trained on."""
    with tempfile.TemporaryDirectory() as folder:
        models = ModelStore(Path(folder), b"for this run", ColdStartScorer())
        return pretrain.make_groups(data, models)


if __name__ == "__main__":
    main()
