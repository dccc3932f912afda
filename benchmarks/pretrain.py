"""Train the ranker that comes with the program anew: `make pretrained`.

    OMP_NUM_THREADS=1 python -m benchmarks.pretrain

Writes triage/ranking/pretrained/ (the ranker and the prior of chances), and the hashes of its files
into the module. The data are the reading lists of listings-2025 (CC0 metadata and public lists);
the same data and libraries give the same bytes, as one thread adds numbers in one order.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import SHARED, skip
from triage.ranking import model_files
from triage.ranking.calibration import Prior
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
    data = benchmark.read(SHARED / "bench" / NAME)
    lists = groups(data)
    scorer = pretrain.fit(lists)
    scorer.save(pretrained_ranker.FOLDER, pretrained_ranker.PUBLIC_KEY)
    prior = fit_prior(data, lists)
    (pretrained_ranker.FOLDER / pretrained_ranker.PRIOR).write_text(prior.to_json(), "utf-8")
    _note_hash("MANIFEST_SHA256", model_files.MANIFEST)
    _note_hash("PRIOR_SHA256", pretrained_ranker.PRIOR)
    print(f"{scorer.version}, {prior}")


def fit_prior(data: Benchmark, lists: Sequence[Group]) -> Prior:
    """Fit the prior of chances on past days, scored by rankers that have not seen their readers."""
    from benchmarks.calibration import score_days

    with tempfile.TemporaryDirectory() as folder:
        models = ModelStore(Path(folder), b"for this run", ColdStartScorer())
        history = benchmark.prepare(data, models, alone=True).history
        past = list(pretrain.make_days(history, benchmark.first_day(data)))
    return pretrain.fit_prior([day for day, _ in past], score_days(data, lists, past))


def _note_hash(constant: str, name: str) -> None:
    digest = hashlib.sha256((pretrained_ranker.FOLDER / name).read_bytes()).hexdigest()
    module = Path(pretrained_ranker.__file__)
    line = f'{constant} = "{digest}"'
    module.write_text(re.sub(f'(?m)^{constant} = ".*"$', line, module.read_text()))


def groups(data: Benchmark) -> list[Group]:
    """Return the query groups that the ranker is trained on."""
    with tempfile.TemporaryDirectory() as folder:
        models = ModelStore(Path(folder), b"for this run", ColdStartScorer())
        return pretrain.make_groups(data, models)


if __name__ == "__main__":
    main()
