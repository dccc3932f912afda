"""A blend gives a plain ranker of the reader a share of the scorer that training starts from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from triage.domain.records import F32, I32
from triage.errors import ModelError
from triage.ranking import model_files
from triage.ranking.blend import PLAIN, SPREAD, Blend
from triage.ranking.cold_start import COLD_BASE, ColdStartScorer
from triage.ranking.features import FEATURES
from triage.ranking.lambdamart import KIND, LambdaMartScorer
from triage.ranking.serving.model_store import ModelStore

KEY = b"k" * 32
COLD = ColdStartScorer()
HALF = Blend(COLD, PLAIN[0], 0.5)
SIZES = [20] * 10


def rows() -> F32:
    return np.random.default_rng(3).normal(size=(200, len(FEATURES))).astype(np.float32)


def likes() -> I32:
    return (np.random.default_rng(4).random(200) < 0.2).astype(np.int32)


def trained(start: Blend) -> LambdaMartScorer:
    ones = np.ones(200, dtype=np.float32)
    return LambdaMartScorer.fit(rows(), likes(), SIZES, ones, start=start, encoder_version="enc")


def test_a_share_of_one_is_the_plain_ranker_alone() -> None:
    for name in PLAIN:
        column = rows()[:, FEATURES.index(name)].astype(np.float64)
        assert Blend(COLD, name, 1.0).margin(rows()) == pytest.approx(SPREAD * column)


def test_a_share_of_a_half_is_in_the_middle() -> None:
    ends = [Blend(COLD, PLAIN[0], share).margin(rows()) for share in (0.0, 1.0)]
    assert HALF.margin(rows()) == pytest.approx(np.mean(ends, axis=0))


def test_summands_and_margin_say_the_same() -> None:
    parts = HALF.contributions(rows()).sum(axis=1)
    assert parts + 0.5 * COLD_BASE == pytest.approx(HALF.margin(rows()))


def test_a_saved_scorer_has_its_blend(tmp_path: Path) -> None:
    scorer = trained(HALF)
    scorer.save(tmp_path, KEY)
    loaded = LambdaMartScorer.load(tmp_path, KEY, COLD)
    assert loaded.version == scorer.version
    assert np.array_equal(loaded.margin(rows()), scorer.margin(rows()))


def test_the_blend_is_in_the_version_of_a_scorer(tmp_path: Path) -> None:
    """The trees alone would not tell the blends apart: they may be equal."""
    trained(HALF).save(tmp_path, KEY)
    manifest, files = model_files.read(tmp_path, KIND, KEY)
    text = files["trees.txt"].decode()
    scale = LambdaMartScorer.load(tmp_path, KEY, COLD)._scale
    blends = [COLD, HALF, Blend(COLD, PLAIN[0], 0.25), Blend(COLD, PLAIN[1], 0.5)]
    versions = {LambdaMartScorer(text, None, scale, each, "enc").version for each in blends}
    assert len(versions) == len(blends)
    assert manifest["blend"] == {"feature": PLAIN[0], "share": 0.5}


@pytest.mark.parametrize(
    "blend", [{"feature": "unknown", "share": 0.5}, {"feature": PLAIN[0]}, {"share": 1}, "half"]
)
def test_a_blend_of_another_form_is_refused(tmp_path: Path, blend: object) -> None:
    trained(HALF).save(tmp_path, KEY)
    manifest, files = model_files.read(tmp_path, KIND, KEY)
    facts = {name: value for name, value in manifest.items() if name not in ("kind", "files")}
    model_files.write(tmp_path, KIND, files, facts | {"blend": blend}, KEY)
    with pytest.raises(ModelError, match="train again"):
        LambdaMartScorer.load(tmp_path, KEY, COLD)


def test_a_model_card_names_the_blend(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, KEY, COLD)
    ones = np.ones(200, dtype=np.float32)
    for start, told in ((HALF, {"feature": PLAIN[0], "share": 0.5}), (COLD, None)):
        version = store.fit_scorer(rows(), likes(), SIZES, ones, "enc", start).version
        assert json.loads(json.dumps(store.facts(version))).get("blend") == told
