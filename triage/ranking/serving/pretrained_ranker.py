"""The pretrained ranker: it comes with the program and serves until local feedback is better.

It was trained on public reading lists (docs/pretrained.md) and works with every encoder. Training
on an installation's own feedback starts from it. The files carry no seal of an installation, so
this module knows the hash of their manifest, and the manifest those of the files.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from triage.errors import ModelError
from triage.ranking import model_files
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.lambdamart import LambdaMartScorer

MANIFEST_SHA256 = "a0fa5fb4c93c574cccbc965cd1b97ec5f60a08196990d440c60bcc479a6ae0a3"
SHARE = 0.3
"""The share of the cold-start formula that the ranker was trained to start from."""

FOLDER = Path(__file__).parents[1] / "pretrained"
# Pretrained rankers are public: this key gives them the form of sealed folders and no protection.
PUBLIC_KEY = b"a pretrained ranker of triage"


@cache
def load_shipped() -> LambdaMartScorer:
    """Return the ranker that comes with the program.

    Raises:
        ModelError: its files are missing or were changed.
    """
    manifest = FOLDER / model_files.MANIFEST
    try:
        found = hashlib.sha256(manifest.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"{manifest} cannot be read: install triage again") from error
    if found != MANIFEST_SHA256:
        raise ModelError(f"{manifest} is not the one of this version: install triage again")
    return load(FOLDER)


def load(folder: Path) -> LambdaMartScorer:
    """Return the pretrained ranker in a folder, which `triage bench pretrain` has made.

    Raises:
        ModelError: there is none, it is damaged, or it was trained for other features.
    """
    return LambdaMartScorer.load(folder, PUBLIC_KEY, ColdStartScorer(SHARE))
