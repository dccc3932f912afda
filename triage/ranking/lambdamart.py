"""Feature rows to scores. The only importer of LightGBM.

    margin = cold-start formula    for everybody, from the first day
           + a learned formula     once people have voted much: what features are worth besides
           + boosted trees         once people have voted: what no sum of features says
    score  = 1 / (1 + exp(-margin))

Margins are brought to the level and spread of the cold-start formula's, so all scorers speak on one
scale and one score floor fits. Each part learns only what those before it get wrong: with little
feedback it changes little.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from triage.domain.records import F32, F64, I32, I64
from triage.errors import ModelError, NotEnoughFeedback
from triage.ranking import model_files
from triage.ranking.cold_start import ColdStartScorer, checked, sigmoid
from triage.ranking.features import FEATURE_VERSION, FEATURES, IN_THE_DAY
from triage.ranking.linear_scorer import Formula, fit_linear_scorer

if TYPE_CHECKING:
    from lightgbm import Booster, Dataset

KIND = "scorer"
# The least that trees are grown on: fewer rows than this cannot fill two leaves twice.
MIN_ROWS = 20
MIN_RELEVANT = 5
MIN_GROUPS = 2
FIRST_ROUNDS = 10
MOST_ROUNDS = 150
MANY_ROUNDS = 100
PATIENCE = 20
GROUPS_TO_TELL = 20
MARGIN_ROWS = 50_000
MUCH_FEEDBACK_ROWS = 20_000
# Each tree sees other rows, so that all are seen and a long log takes no longer to grow on.
MOST_ROWS_OF_A_TREE = 150_000

# A paper is never shown for being less like what somebody likes. Where trees may not bend, they
# cannot learn by heart which papers were liked either.
# Nor is it for standing in a crowd, where nearness means little.
_FALLING = {"words_dislike_max", "dense_dislike_max", "density", "density_z"}
_RISING = {
    *IN_THE_DAY, *(f"{name}_z" for name in IN_THE_DAY), "dense_like_max", "sense_like_max",
    "category_chosen", "followed_author", "liked_author_overlap", "include_keyword_hits",
} - _FALLING  # fmt: skip
_MONOTONE = [(name in _RISING) - (name in _FALLING) for name in FEATURES]


@dataclass(frozen=True, slots=True)
class Scale:
    """How formula and trees become margins: `gain` · (formula + trees) - `offset`."""

    gain: float = 1.0
    offset: float = 0.0


class LambdaMartScorer:
    """Trees boosted from a formula by LambdaMART (Burges 2010, MSR-TR-2010-82).

    The formula is the cold-start scorer's, or that and a learned one. What the log never varied,
    say dislikes where nobody disliked anything, counts as it does in the cold-start formula.

    Attributes:
        version: hash of the trees and what they are bound to.
        encoder_version: the encoder whose features the trees were grown on.
    """

    def __init__(
        self, text: str, learned: Formula | None, scale: Scale, encoder_version: str
    ) -> None:
        model_files.check_trees(text, FEATURES)
        from lightgbm import Booster

        facts = json.dumps(learned.facts()) if learned is not None else ColdStartScorer.version
        bound = f"{FEATURE_VERSION} {encoder_version} {scale!r} {facts}\n{text}"
        self.version = f"lm-{hashlib.sha256(bound.encode()).hexdigest()[:12]}"
        self.encoder_version: str | None = encoder_version
        self._text, self._scale, self._learned = text, scale, learned
        self._booster: Booster = Booster(model_str=text)

    @classmethod
    def fit(
        cls,
        X: F32,
        relevance: I32,
        group_sizes: Sequence[int],
        weights: F32,
        *,
        encoder_version: str,
        seed: int = 0,
    ) -> LambdaMartScorer:
        """Learn from logged slates; the same data and seed give the same bytes.

        Args:
            X: float32 (n, n_features), rows of one query group next to each other, oldest first.
            relevance: int32 (n,), 0 to 3.
            group_sizes: how many rows each query group has, in order; they sum to n.
            weights: float32 (n,), above 0, e.g. one over the propensity, clipped.
            encoder_version: the encoder that made X.
            seed: of the tie-breaking inside LightGBM.

        Raises:
            NotEnoughFeedback: under 20 rows, under 5 relevant ones, or under 2 query groups that
                hold both relevant and other rows.
            ValueError: the arguments do not fit each other.
        """
        import lightgbm

        X = checked(X)
        if not len(X) == len(relevance) == len(weights) == sum(group_sizes):
            raise ValueError(
                f"{len(X)} rows, {len(relevance)} relevances, {len(weights)} weights and groups of "
                f"{sum(group_sizes)} rows do not fit each other"
            )
        _check_enough(relevance, group_sizes)
        log = _begun(X, relevance, np.asarray(group_sizes), weights, seed)
        n_rounds = _rounds(log, seed)
        booster = lightgbm.train(_parameters(len(X), seed), log.dataset(), n_rounds)
        scale = _scale(booster, log)
        return cls(booster.model_to_string(), log.learned, scale, encoder_version)

    def score(self, X: F32) -> F64:
        """Return float64 (n,) in [0, 1]; (0,) for no rows."""
        X = checked(X)
        if not len(X):
            return np.zeros(0)
        trees = np.asarray(self._booster.predict(X, raw_score=True, num_threads=1))
        return sigmoid(self._scale.gain * (_init(self._learned, X) + trees) - self._scale.offset)

    def contributions(self, X: F32) -> F64:
        """Return float64 (n, n_features): the formulas' summands plus the trees' SHAP values.

        SHAP values (Lundberg et al. 2018) cost about a millisecond for two rows: explain what is
        shown, not all candidates.
        """
        X = checked(X)
        if not len(X):
            return np.zeros((0, len(FEATURES)))
        trees = np.asarray(self._booster.predict(X, pred_contrib=True, num_threads=1))
        start = _start(self._learned, X)
        return np.asarray(self._scale.gain * (start + trees[:, :-1]), dtype=np.float64)

    def save(self, folder: Path, key: bytes) -> None:
        """Seal the trees as LightGBM text in `folder` beside their manifest."""
        import lightgbm

        facts = {
            "version": self.version,
            "scale": asdict(self._scale),
            "formula": None if self._learned is None else self._learned.facts(),
            "encoder_version": self.encoder_version,
            "feature_version": FEATURE_VERSION,
            "features": list(FEATURES),
            "starts_from": ColdStartScorer.version,
            "libraries": {"lightgbm": lightgbm.__version__},
        }
        model_files.write(folder, KIND, {"trees.txt": self._text.encode()}, facts, key)

    @classmethod
    def load(cls, folder: Path, key: bytes) -> LambdaMartScorer:
        """Return the scorer that was sealed in `folder`.

        Raises:
            ModelError: the folder is missing, damaged, foreign, sealed with another key, or made
                for other features; nothing of it has reached LightGBM then.
        """
        manifest, files = model_files.read(folder, KIND, key)
        made_for = (
            manifest.get("feature_version"), manifest.get("features"), manifest.get("starts_from")
        )  # fmt: skip
        if made_for != (FEATURE_VERSION, list(FEATURES), ColdStartScorer.version):
            raise ModelError(
                f"{folder} was trained for features {made_for[0]} on {made_for[2]}, this program "
                f"has {FEATURE_VERSION} on {ColdStartScorer.version}; train again"
            )
        try:
            facts, scale = manifest["formula"], Scale(**manifest["scale"])
            learned = None if facts is None else Formula.from_facts(facts)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{folder} holds a scorer of an unknown form; train again") from error
        text, encoder_version = files["trees.txt"].decode(), str(manifest["encoder_version"])
        return cls(text, learned, scale, encoder_version)


def _start(learned: Formula | None, X: F32) -> F64:
    """Return float64 (n, n_features): the summands of what trees start from."""
    cold = ColdStartScorer()
    if learned is None:
        return cold.contributions(X)
    return cold.contributions(learned.bounded(X)) + learned.contributions(X)


def _init(learned: Formula | None, X: F32) -> F64:
    """Return float64 (n,): what trees start from, a part at a time, for its summands are wide."""
    cold, starts = ColdStartScorer(), range(0, len(X), MARGIN_ROWS)
    slices = [X[at : at + MARGIN_ROWS] for at in starts]
    if learned is None:
        return np.concatenate([np.zeros(0), *map(cold.margin, slices)])
    margins = [cold.margin(learned.bounded(part)) + learned.margin(part) for part in slices]
    return np.concatenate([np.zeros(0), *margins])


def _scale(booster: Booster, log: _Log) -> Scale:
    """Return what gives margins the mean and spread of the cold-start formula's.

    LambdaMART sees only differences inside a query group, so the level of its trees is arbitrary.
    """
    some = slice(None, None, -(-len(log.X) // MARGIN_ROWS))
    X = log.X[some]
    cold = _init(None, X)
    margin = log.init[some] + np.asarray(booster.predict(X, raw_score=True, num_threads=1))
    gain = float(cold.std() / max(float(margin.std()), 1e-9))
    return Scale(gain, gain * float(margin.mean()) - float(cold.mean()))


def _check_enough(relevance: I32, group_sizes: Sequence[int]) -> None:
    ends = np.cumsum(group_sizes)
    groups = np.split(relevance, ends[:-1]) if len(ends) else []
    telling = sum(bool((g > g.min()).any()) for g in groups if len(g))
    relevant = int((relevance > 0).sum())
    if len(relevance) < MIN_ROWS or relevant < MIN_RELEVANT or telling < MIN_GROUPS:
        raise NotEnoughFeedback(
            f"{len(relevance)} shown papers, {relevant} liked, in {telling} telling digests "
            f"are too few to train on; it takes {MIN_ROWS}, {MIN_RELEVANT} and {MIN_GROUPS}"
        )


@dataclass(frozen=True, slots=True)
class _Log:
    """Query groups as `LambdaMartScorer.fit` takes them, oldest first, and what trees start from.

    Attributes:
        learned: the formula that was learned from the whole log, if that holds enough.
        init: float64 (n,), the margin of the cold-start formula together with that.
    """

    X: F32
    relevance: I32
    group_sizes: I64
    weights: F32
    learned: Formula | None
    init: F64

    def groups(self, first: int, last: int) -> _Log:
        start, end = int(self.group_sizes[:first].sum()), int(self.group_sizes[:last].sum())
        rows = slice(start, end)
        return replace(
            self,
            X=self.X[rows],
            relevance=self.relevance[rows],
            group_sizes=self.group_sizes[first:last],
            weights=self.weights[rows],
            init=self.init[rows],
        )

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


def _begun(X: F32, relevance: I32, group_sizes: I64, weights: F32, seed: int) -> _Log:
    cold = ColdStartScorer()
    learned = fit_linear_scorer(X, cold.margin, relevance, group_sizes.tolist(), weights, seed)
    return _Log(X, relevance, group_sizes, weights, learned, _init(learned, X))


def _rounds(log: _Log, seed: int) -> int:
    """Return how many trees serve the newest fifth of the query groups best, grown on the rest.

    Few groups cannot tell: then it is FIRST_ROUNDS, which changes little. With much feedback it is
    MANY_ROUNDS: there they cannot bend to chance.
    """
    if len(log.X) >= MUCH_FEEDBACK_ROWS:
        return MANY_ROUNDS
    n_groups = len(log.group_sizes)
    if n_groups < GROUPS_TO_TELL:
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
        "learning_rate": 0.08 if is_much else 0.05,
        # Above a learned formula large trees find no more, and each candidate would pay for them.
        "num_leaves": 7 if is_much or n_rows < 2_000 else 15,
        "min_data_in_leaf": int(np.clip(n_rows / 20, 5, 100)),
        "min_sum_hessian_in_leaf": 1e-3,
        "lambda_l2": 10.0 if is_much else 3.0,
        # Features say much the same: few at a time make trees that differ.
        "feature_fraction": 0.5 if is_much else 0.7,
        "bagging_fraction": min(0.7, MOST_ROWS_OF_A_TREE / max(n_rows, 1)),
        "bagging_freq": 1 if is_much else 0,
        "lambdarank_truncation_level": 20,
        "label_gain": [0, 1, 3, 7],
        "monotone_constraints": _MONOTONE,
        "seed": seed,
        "deterministic": True,
        "force_col_wise": True,
        # OpenMP's threads spin while they wait: beside other work two take four times one's CPU.
        "num_threads": 1,
        "verbosity": -1,
    }
