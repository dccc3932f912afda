"""The pretrained ranker: it comes with the program and serves until local feedback is better.

It was trained on public reading lists (docs/pretrained.md) and works with every encoder. Training
on an installation's own feedback starts from it. The files carry no seal of an installation, so
this module knows the hash of their manifest, and the manifest those of the files.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from triage.errors import ModelError
from triage.ranking import model_files
from triage.ranking.calibration import Prior
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.lambdamart import LambdaMartScorer

MANIFEST_SHA256 = "a0fa5fb4c93c574cccbc965cd1b97ec5f60a08196990d440c60bcc479a6ae0a3"
PRIOR_SHA256 = "2af133ba7fea6482230d47fd6016ed83ec4710903a44cfd57ebd9c718e4a617a"
SHARE = 0.3
"""The share of the cold-start formula that the ranker was trained to start from."""

FOLDER = Path(__file__).parents[1] / "pretrained"
PRIOR = "calibration.json"
# Pretrained rankers are public: this key gives them the form of sealed folders and no protection.
PUBLIC_KEY = b"a pretrained ranker of triage"


@cache
def load_shipped() -> LambdaMartScorer:
    """Return the ranker that comes with the program.

    Raises:
        ModelError: its files are missing or were changed.
    """
    _read_shipped(model_files.MANIFEST, MANIFEST_SHA256)
    return load(FOLDER)


@cache
def load_shipped_prior() -> Prior:
    """Return the calibration of the pretrained ranker.

    Raises:
        ModelError: its file is missing or was changed.
    """
    return Prior(**json.loads(_read_shipped(PRIOR, PRIOR_SHA256)))


def _read_shipped(name: str, sha256: str) -> bytes:
    path = FOLDER / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: install triage again") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"{path} is not the one of this version: install triage again")
    return content


def load(folder: Path) -> LambdaMartScorer:
    """Return the pretrained ranker in a folder, which `triage bench pretrain` has made.

    Raises:
        ModelError: there is none, it is damaged, or it was trained for other features.
    """
    return LambdaMartScorer.load(folder, PUBLIC_KEY, ColdStartScorer(SHARE))
