"""Fits the trained scorer with LightGBM and computes scores with it; nothing else uses LightGBM.

    margin = margin of the scorer to start from
           + linear model         if the log has enough slates (`linear_scorer`)
           + boosted trees        what a linear model cannot express
    score  = 1 / (1 + exp(-margin))

An installation's scorer starts from the one that comes with the program, and that from the
cold-start formula. Each part is fitted on what the parts before it get wrong, so little feedback
changes little. Margins are scaled to the mean and spread of those before, so that one prior of
chances (`calibration`) fits all scorers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from triage.domain.records import F32, F64, I32, I64
from triage.errors import ModelError, NotEnoughFeedback
from triage.ranking import model_files
from triage.ranking.blend import Blend, Start
from triage.ranking.cold_start import ColdStartScorer, check_feature_rows, sigmoid
from triage.ranking.features import FEATURE_VERSION, FEATURES, IN_THE_DAY
from triage.ranking.linear_scorer import (
    N_CONTEXTS,
    LinearModel,
    LinearPrior,
    fit_linear_scorer,
)

if TYPE_CHECKING:
    from lightgbm import Booster, Dataset

KIND = "scorer"
TRAINED, PRETRAINED = "lm-", "pre-"
"""How the versions of scorers begin that need one encoder, or work with any."""

# The smallest log to train on: fewer rows cannot fill two leaves twice.
MIN_ROWS = 20
MIN_RELEVANT = 5
MIN_GROUPS = 2
FIRST_ROUNDS = 10
MOST_ROUNDS = 150
MANY_ROUNDS = 100
PATIENCE = 20
# What is best on fewer slates was worse in labs of `benchmarks.growing` than a few trees.
MIN_GROUPS_TO_VALIDATE = 1_000
MARGIN_ROWS = 50_000
ENOUGH_ROWS = 500
MUCH_FEEDBACK_ROWS = 20_000
# Each tree is grown on another sample of rows, so that a long log takes no more time.
MOST_ROWS_OF_A_TREE = 150_000

# Monotone constraints: more similarity to likes never lowers a score, and a crowded neighbourhood,
# where similarity means little, never raises it. They also keep trees from overfitting.
_FALLING = {"words_dislike_max", "dense_dislike_max", "density", "density_z"}
_RISING = {
    *IN_THE_DAY, *(f"{name}_z" for name in IN_THE_DAY), "dense_like_max", "sense_like_max",
    "category_chosen", "followed_author", "liked_author_overlap", "include_keyword_hits",
} - _FALLING  # fmt: skip
MONOTONE = [(name in _RISING) - (name in _FALLING) for name in FEATURES]
# All papers of a digest were chosen for their similarity, so among them it tells little. Without
# signs the linear model learns that similarity is bad, and ranks the papers of a day badly.
SIGNED_PENALTY = 0.3


@dataclass(frozen=True, slots=True)
class Scale:
    """The final margin is `gain` · (linear part + trees) - `offset`."""

    gain: float = 1.0
    offset: float = 0.0


class LambdaMartScorer:
    """Trees boosted with LambdaMART (Burges 2010, MSR-TR-2010-82) on top of linear formulas.

    A feature that is constant in the log keeps its weight in the scorer to start from.

    Attributes:
        version: hash of the trees and of all that they depend on.
        encoder_version: the encoder of the training features; None if any encoder will do.
    """

    def __init__(
        self,
        text: str,
        linear: LinearModel | None,
        scale: Scale,
        start: Start,
        encoder_version: str | None,
    ) -> None:
        from lightgbm import Booster

        facts = json.dumps(linear.facts()) if linear is not None else ""
        bound = f"{FEATURE_VERSION} {start.version} {encoder_version} {scale!r} {facts}\n{text}"
        kind = TRAINED if encoder_version else PRETRAINED
        self.version = f"{kind}{hashlib.sha256(bound.encode()).hexdigest()[:12]}"
        self.encoder_version = encoder_version
        self._text, self._scale, self._linear, self._start = text, scale, linear, start
        self._booster: Booster = Booster(model_str=text)

    @classmethod
    def fit(
        cls,
        X: F32,
        relevance: I32,
        group_sizes: Sequence[int],
        weights: F32,
        *,
        start: Start,
        encoder_version: str | None,
        prior: LinearPrior | None = None,
        seed: int = 0,
    ) -> LambdaMartScorer:
        """Fit on logged slates; the same data and seed give the same bytes.

        Args:
            X: float32 (n, n_features), the rows of each query group together, oldest first.
            relevance: int32 (n,), 0 to 3.
            group_sizes: the number of rows of each query group; they sum to n.
            weights: float32 (n,), above 0, e.g. one over the propensity, clipped.
            start: the scorer to start from.
            encoder_version: the encoder of the features; None for a scorer for any encoder.
            prior: of the linear model, see `fit_linear_scorer`; None draws it to the scorer to
                start from, and below MUCH_FEEDBACK_ROWS no weight may turn a sign of MONOTONE.
            seed: for LightGBM's sampling and the sample of slates.

        Raises:
            NotEnoughFeedback: under MIN_ROWS rows, MIN_RELEVANT relevant ones, or MIN_GROUPS query
                groups with both relevant and other rows.
            ValueError: the lengths of the arguments do not match.
        """
        import lightgbm

        X = check_feature_rows(X)
        if not len(X) == len(relevance) == len(weights) == sum(group_sizes):
            raise ValueError(
                f"{len(X)} rows, {len(relevance)} relevances, {len(weights)} weights and groups of "
                f"{sum(group_sizes)} rows do not fit each other"
            )
        _check_enough(relevance, group_sizes)
        if prior is None and len(X) < MUCH_FEEDBACK_ROWS:
            none = np.zeros((N_CONTEXTS, len(FEATURES)))
            prior = LinearPrior(none, start.slopes(), MONOTONE, SIGNED_PENALTY)
        linear = fit_linear_scorer(X, start.margin, relevance, group_sizes, weights, seed, prior)
        sizes = np.asarray(group_sizes)
        log = _Log(X, relevance, sizes, weights, initial_margin(start, linear, X))
        n_rounds = _choose_rounds(log, seed)
        booster = lightgbm.train(_parameters(len(X), seed), log.dataset(), n_rounds)
        # The levels of the scorer that has served before; a pretrained one has had none.
        scale = _scale(booster, log, start if encoder_version else ColdStartScorer())
        return cls(booster.model_to_string(), linear, scale, start, encoder_version)

    def margin(self, X: F32) -> F64:
        """Return float64 (n,), the logit of the score; (0,) for no rows."""
        X = check_feature_rows(X)
        if not len(X):
            return np.zeros(0)
        trees = np.asarray(self._booster.predict(X, raw_score=True, num_threads=1))
        initial = initial_margin(self._start, self._linear, X)
        return np.asarray(self._scale.gain * (initial + trees) - self._scale.offset)

    def score(self, X: F32) -> F64:
        """Return float64 (n,) in [0, 1]; (0,) for no rows."""
        return sigmoid(self.margin(X))

    def contributions(self, X: F32) -> F64:
        """Return float64 (n, n_features): the linear parts plus the trees' SHAP values.

        SHAP values (Lundberg et al. 2018) take about a millisecond for two rows, so they are for
        papers of a slate, not for all candidates.
        """
        X = check_feature_rows(X)
        if not len(X):
            return np.zeros((0, len(FEATURES)))
        trees = np.asarray(self._booster.predict(X, pred_contrib=True, num_threads=1))
        linear = self._linear
        parts = self._start.contributions(X if linear is None else linear.bounded(X))
        if linear is not None:
            parts = parts + linear.contributions(X)
        return np.asarray(self._scale.gain * (parts + trees[:, :-1]), dtype=np.float64)

    def slopes(self) -> F64:
        """Return float64 (N_CONTEXTS, n_features): the weights of the linear parts."""
        weights = self._start.slopes()
        if self._linear is not None:
            weights = weights + self._linear.slopes()
        return self._scale.gain * weights

    def save(self, folder: Path, key: bytes) -> None:
        """Write the trees as LightGBM text and their manifest into `folder`, sealed."""
        import lightgbm

        facts = {
            "version": self.version,
            "scale": asdict(self._scale),
            "formula": None if self._linear is None else self._linear.facts(),
            "encoder_version": self.encoder_version,
            "feature_version": FEATURE_VERSION,
            "features": list(FEATURES),
            "starts_from": self._start.version,
            "libraries": {"lightgbm": lightgbm.__version__},
        }
        if isinstance(self._start, Blend):
            facts["blend"] = self._start.facts()
        model_files.write(folder, KIND, {"trees.txt": self._text.encode()}, facts, key)

    @classmethod
    def load(cls, folder: Path, key: bytes, start: Start) -> LambdaMartScorer:
        """Return the scorer that was sealed in `folder` and starts from `start`.

        Raises:
            ModelError: the folder is missing, damaged, sealed with another key, or was trained for
                other features; LightGBM has read nothing of it.
        """
        manifest, files = model_files.read(folder, KIND, key)
        unknown = f"{folder} has a scorer of an unknown form; train again"
        try:
            if blend := manifest.get("blend"):
                start = Blend(start, **blend)
        except (TypeError, ValueError) as error:
            raise ModelError(unknown) from error
        made_for = (
            manifest.get("feature_version"), manifest.get("features"), manifest.get("starts_from")
        )  # fmt: skip
        if made_for != (FEATURE_VERSION, list(FEATURES), start.version):
            raise ModelError(
                f"{folder} was trained for features {made_for[0]} on {made_for[2]}, this program "
                f"has {FEATURE_VERSION} on {start.version}; train again"
            )
        try:
            facts, scale = manifest["formula"], Scale(**manifest["scale"])
            linear = None if facts is None else LinearModel.from_facts(facts)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(unknown) from error
        encoder_version = manifest["encoder_version"]
        return cls(files["trees.txt"].decode(), linear, scale, start, encoder_version)


def initial_margin(start: Start, linear: LinearModel | None, X: F32) -> F64:
    """Return float64 (n,), the margin that trees start from, in slices to save memory."""
    margins = [np.zeros(0)]
    for at in range(0, len(X), MARGIN_ROWS):
        part = X[at : at + MARGIN_ROWS]
        margins.append(
            start.margin(part)
            if linear is None
            else start.margin(linear.bounded(part)) + linear.margin(part)
        )
    return np.concatenate(margins)


def _scale(booster: Booster, log: _Log, before: Start) -> Scale:
    """Return the scale that gives margins the mean and spread of the scorer `before`.

    LambdaMART uses only differences within a query group, so the level of its trees is arbitrary.
    """
    sample = slice(None, None, -(-len(log.X) // MARGIN_ROWS))
    X = log.X[sample]
    usual = before.margin(X)
    margin = log.init[sample] + np.asarray(booster.predict(X, raw_score=True, num_threads=1))
    gain = float(usual.std() / max(float(margin.std()), 1e-9))
    return Scale(gain, gain * float(margin.mean()) - float(usual.mean()))


def _check_enough(relevance: I32, group_sizes: Sequence[int]) -> None:
    ends = np.cumsum(group_sizes)
    groups = np.split(relevance, ends[:-1]) if len(ends) else []
    n_useful = sum(bool((g > g.min()).any()) for g in groups if len(g))
    relevant = int((relevance > 0).sum())
    if len(relevance) < MIN_ROWS or relevant < MIN_RELEVANT or n_useful < MIN_GROUPS:
        raise NotEnoughFeedback(
            f"{len(relevance)} shown papers, {relevant} liked, in {n_useful} digests with both "
            f"are too few to train on; the minimum is {MIN_ROWS}, {MIN_RELEVANT} and {MIN_GROUPS}"
        )


@dataclass(frozen=True, slots=True)
class _Log:
    """Query groups, see `LambdaMartScorer.fit`; `init` is float64 (n,), the initial margin."""

    X: F32
    relevance: I32
    group_sizes: I64
    weights: F32
    init: F64

    def groups(self, first: int, last: int) -> _Log:
        start, end = int(self.group_sizes[:first].sum()), int(self.group_sizes[:last].sum())
        rows = slice(start, end)
        sizes = self.group_sizes[first:last]
        return _Log(self.X[rows], self.relevance[rows], sizes, self.weights[rows], self.init[rows])

    def dataset(self, reference: Dataset | None = None) -> Dataset:
        from lightgbm import Dataset

        return Dataset(
            self.X,
            label=self.relevance,
            weight=self.weights,
            group=self.group_sizes,
            init_score=self.init,
            feature_name=list(FEATURES),
            reference=reference,
            params={"verbosity": -1},
        )


def _choose_rounds(log: _Log, seed: int) -> int:
    """Return the number of trees that is best on the newest fifth of the query groups.

    With few groups that is too noisy: FIRST_ROUNDS, which change little. With much feedback trees
    cannot overfit: MANY_ROUNDS.
    """
    if len(log.X) >= MUCH_FEEDBACK_ROWS:
        return MANY_ROUNDS
    n_groups = len(log.group_sizes)
    if n_groups < MIN_GROUPS_TO_VALIDATE:
        return FIRST_ROUNDS
    import lightgbm

    split = n_groups - n_groups // 5
    earlier, later = log.groups(0, split), log.groups(split, n_groups)
    data = earlier.dataset()
    record: dict[str, dict[str, list[float]]] = {}
    lightgbm.train(
        _parameters(len(earlier.X), seed) | {"metric": "ndcg", "eval_at": [10]},
        data,
        MOST_ROUNDS,
        valid_sets=[later.dataset(data)],
        valid_names=["later"],
        callbacks=[
            lightgbm.record_evaluation(record),
            lightgbm.early_stopping(PATIENCE, verbose=False),
        ],
    )
    return max(FIRST_ROUNDS, int(np.argmax(record["later"]["ndcg@10"])) + 1)


def _parameters(n_rows: int, seed: int) -> dict[str, Any]:
    is_much = n_rows >= MUCH_FEEDBACK_ROWS
    return {
        "objective": "lambdarank",
        # Ten trees at full rate on a few digests would make the ranking a little worse.
        "learning_rate": 0.08 if is_much else 0.05 * min(1.0, n_rows / ENOUGH_ROWS),
        # On top of a linear model larger trees gain nothing and cost time for each candidate.
        "num_leaves": 7 if is_much or n_rows < 2_000 else 15,
        "min_data_in_leaf": int(np.clip(n_rows / 20, 5, 100)),
        "min_sum_hessian_in_leaf": 1e-3,
        "lambda_l2": 10.0 if is_much else 3.0,
        # Features are correlated: a sample of them for each tree makes the trees differ.
        "feature_fraction": 0.5 if is_much else 0.7,
        "bagging_fraction": min(0.7, MOST_ROWS_OF_A_TREE / max(n_rows, 1)),
        "bagging_freq": 1 if is_much else 0,
        "lambdarank_truncation_level": 20,
        "label_gain": [0, 1, 3, 7],
        "monotone_constraints": MONOTONE,
        "seed": seed,
        "deterministic": True,
        "force_col_wise": True,
        # OpenMP threads spin while they wait: beside other work two take four times the CPU of one.
        "num_threads": 1,
        "verbosity": -1,
    }
