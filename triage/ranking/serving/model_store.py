"""Fits encoders and scorers, and stores each version as a sealed folder."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import structlog

from triage.domain.records import F32, I32, I64
from triage.errors import ModelError
from triage.ranking import lambdamart, model_files
from triage.ranking.blend import Start
from triage.ranking.cold_start import COLD_START, ColdStartScorer
from triage.ranking.encoder.text_encoder import TextEncoder
from triage.ranking.lambdamart import PRETRAINED, LambdaMartScorer
from triage.ranking.serving import pretrained_ranker

log = structlog.get_logger()

SEED = 0
PARAMETERS = (
    "objective", "learning_rate", "num_leaves", "min_data_in_leaf", "lambda_l2",
    "feature_fraction", "lambdarank_truncation_level", "seed",
)  # fmt: skip
"""The training parameters that a model card shows."""


class ModelStore:
    """Fits encoders and scorers, saves them in a folder, and loads them by version.

    Args:
        folder: created when a model is saved.
        key: seals models; a folder that was sealed with another key raises ModelError.
        ranker: the pretrained ranker; None is the one that comes with the program.
    """

    def __init__(
        self, folder: Path, key: bytes, ranker: ColdStartScorer | LambdaMartScorer | None = None
    ) -> None:
        self._folder = folder
        self._key = key
        self._ranker = ranker
        self._encoders: dict[str, TextEncoder] = {}

    def fit_encoder(
        self,
        texts: Sequence[str],
        authors: Sequence[Sequence[str]] = (),
        likes: Mapping[int, I64] = MappingProxyType({}),
        listed: Sequence[date] = (),
    ) -> TextEncoder:
        """Fit an encoder, see `TextEncoder.fit`, and save it; equal input gives equal versions."""
        encoder = TextEncoder.fit(texts, authors, likes, listed, SEED)
        encoder.save(self._folder_of(encoder.version), self._key)
        self._encoders[encoder.version] = encoder
        return encoder

    def fit_scorer(
        self,
        X: F32,
        relevance: I32,
        group_sizes: Sequence[int],
        weights: F32,
        encoder: str,
        start: Start | None = None,
    ) -> LambdaMartScorer:
        """Fit a ranker on logged feature rows, see `LambdaMartScorer.fit`, and save it.

        Args:
            encoder: the version of the encoder that the ranker needs.
            start: the pretrained ranker or a blend with it; None is the former.

        Raises:
            NotEnoughFeedback: too little data; the message says how much is needed.
        """
        scorer = LambdaMartScorer.fit(
            X,
            relevance,
            group_sizes,
            weights,
            start=start or self.pretrained_scorer(),
            encoder_version=encoder,
            seed=SEED,
        )
        scorer.save(self._folder_of(scorer.version), self._key)
        return scorer

    def load_encoder(self, version: str) -> TextEncoder:
        """Load a saved encoder.

        Raises:
            ModelError: it is missing or damaged, or another installation made it.
        """
        if version not in self._encoders:
            encoder = TextEncoder.load(self._folder_of(version), self._key)
            self._check_version(version, encoder.version)
            self._encoders[version] = encoder
        return self._encoders[version]

    def load_scorer(self, version: str) -> ColdStartScorer | LambdaMartScorer:
        """Load a saved scorer; every version of the pretrained one gives the current one.

        Raises:
            ModelError: as for `load_encoder`.
        """
        if version.startswith((COLD_START, PRETRAINED)):
            return self.pretrained_scorer()
        folder = self._folder_of(version)
        scorer = LambdaMartScorer.load(folder, self._key, self.pretrained_scorer())
        self._check_version(version, scorer.version)
        return scorer

    def discard(self, version: str) -> None:
        """Delete a saved version; do nothing if it does not exist."""
        self._encoders.pop(version, None)
        folder = self._folder_of(version)
        if folder.parent == self._folder:
            shutil.rmtree(folder, ignore_errors=True)

    def facts(self, version: str) -> dict[str, Any]:
        """Return the `parameters` and `libraries` of a saved scorer, and its `blend` if it has one.

        Raises:
            ModelError: as for `load_encoder`.
        """
        manifest, files = model_files.read(self._folder_of(version), lambdamart.KIND, self._key)
        trees = files["trees.txt"].decode()
        parameters = dict(re.findall(r"^\[(\w+): (.*)\]$", trees, re.MULTILINE))
        blend = {"blend": manifest["blend"]} if "blend" in manifest else {}
        return blend | {
            "parameters": {
                "trees": trees.count("\nTree="),
                **{name: parameters[name] for name in PARAMETERS if name in parameters},
            },
            "libraries": {**manifest["libraries"], "numpy": np.__version__},
        }

    def pretrained_scorer(self) -> ColdStartScorer | LambdaMartScorer:
        """Return the pretrained ranker, which works with any encoder.

        If its files are damaged, it is the cold-start formula, which needs none.
        """
        if self._ranker is None:
            try:
                self._ranker = pretrained_ranker.load_shipped()
            except ModelError as error:
                log.error("the pretrained ranker cannot be used", error=str(error))
                self._ranker = ColdStartScorer()
        return self._ranker

    def _folder_of(self, version: str) -> Path:
        return self._folder / version

    def _check_version(self, version: str, found: str) -> None:
        if version != found:
            raise ModelError(
                f"{self._folder_of(version)} holds {found}: restore the folder from a backup,"
                " or `triage train` makes a new model"
            )
