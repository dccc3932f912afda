"""The ranker that comes with the program."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support import topics
from tests.support.contracts import ScorerContract
from tests.support.factories import DAY
from triage.domain.protocols import Scorer
from triage.domain.records import F32, Profile
from triage.errors import ModelError
from triage.ranking import model_files
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.features import feature_matrix
from triage.ranking.serving import pretrained_ranker
from triage.ranking.serving.model_store import ModelStore

ONE_MEGABYTE = 1_000_000


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "pretrained"
    shutil.copytree(pretrained_ranker.FOLDER, folder)
    monkeypatch.setattr(pretrained_ranker, "FOLDER", folder)
    pretrained_ranker.load_shipped.cache_clear()
    return folder


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    pretrained_ranker.load_shipped.cache_clear()


class TestPretrainedRanker(ScorerContract):
    def scorer(self) -> Scorer:
        return pretrained_ranker.load_shipped()

    def rows(self) -> F32:
        profile = topics.profile("protein folding", (3,), (40,))
        return feature_matrix(profile, topics.everything(), DAY)


def test_it_is_small_and_needs_no_encoder_of_its_own() -> None:
    files = [file for file in pretrained_ranker.FOLDER.iterdir() if file.is_file()]
    assert sum(file.stat().st_size for file in files) < ONE_MEGABYTE
    assert pretrained_ranker.load_shipped().encoder_version is None


@pytest.mark.parametrize("harm", ["manifest", "trees", "resealed", "gone"])
def test_what_is_not_of_this_version_is_not_used(copied: Path, tmp_path: Path, harm: str) -> None:
    manifest = copied / model_files.MANIFEST
    if harm == "gone":
        manifest.unlink()
    elif harm == "resealed":
        facts, files = model_files.read(copied, "scorer", pretrained_ranker.PUBLIC_KEY)
        more = {"scale": {"gain": 9.0, "offset": 0.0}}
        model_files.write(copied, "scorer", files, facts | more, pretrained_ranker.PUBLIC_KEY)
    else:
        file = manifest if harm == "manifest" else next(copied.glob("trees-*"))
        file.write_bytes(file.read_bytes().replace(b"0.1", b"0.2", 1))
    with pytest.raises(ModelError):
        pretrained_ranker.load_shipped()
    # Mail goes on with the formula that needs no file.
    scorer = ModelStore(tmp_path / "models", b"key").pretrained_scorer()
    assert scorer.version == ColdStartScorer().version


@pytest.mark.parametrize(
    ("profile", "topic"),
    [
        (topics.profile("I read about protein folding."), "proteins"),
        (topics.profile(liked=(31,)), "robots"),
    ],
)
def test_a_sentence_or_a_like_alone_finds_its_topic(profile: Profile, topic: str) -> None:
    X = feature_matrix(profile, topics.everything(), DAY)
    best = np.argsort(-pretrained_ranker.load_shipped().score(X), kind="stable")[:5]
    assert set(best.tolist()) <= set(topics.rows_of(topic))
