"""Both classes weigh the same, and the weights are scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from triage.domain.records import CSR, F32, F64
from triage.ranking.logistic_regression import fit_logistic_regression


def examples(n_positive: int, n: int = 400, d: int = 30, seed: int = 0) -> F64:
    """Return rows with a last column of ones; the positive ones are apart from the others."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, d)) * (rng.random((n, d)) < 0.3)
    rows[:n_positive, :5] += 1
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return np.hstack([rows, np.ones((n, 1))])


def scikit(rows: F64, n_positive: int, strength: float, solver: str) -> tuple[F64, float]:
    model = LogisticRegression(
        C=strength, class_weight="balanced", solver=solver, tol=1e-9, max_iter=10_000
    ).fit(rows[:, :-1], np.arange(len(rows)) < n_positive)
    return model.coef_[0], float(model.intercept_[0])


@pytest.mark.parametrize("n_positive", [1, 3, 40, 399])
@pytest.mark.parametrize("strength", [1.0, 10.0])
def test_sparse_rows_give_the_weights_of_liblinear(n_positive: int, strength: float) -> None:
    rows = examples(n_positive)
    weights, intercept = fit_logistic_regression(csr_matrix(rows), n_positive, strength)
    expected, expected_intercept = scikit(rows, n_positive, strength, "liblinear")
    logits = rows[:, :-1] @ weights + intercept
    assert logits == pytest.approx(rows[:, :-1] @ expected + expected_intercept, abs=0.02)


@pytest.mark.parametrize("n_positive", [1, 3, 40])
def test_dense_rows_give_the_weights_of_lbfgs_whose_intercept_is_free(n_positive: int) -> None:
    rows = examples(n_positive)
    weights, intercept = fit_logistic_regression(
        rows.astype(np.float32), n_positive, 3, intercept_penalty=0
    )
    expected, expected_intercept = scikit(rows, n_positive, 3, "lbfgs")
    logits = rows[:, :-1] @ weights + intercept
    assert logits == pytest.approx(rows[:, :-1] @ expected + expected_intercept, abs=0.02)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_rows_in_both_classes_give_no_weights(dtype: type[np.floating]) -> None:
    rows = np.tile(examples(0, n=5), (2, 1)).astype(dtype)
    weights, intercept = fit_logistic_regression(rows, 5, 10)
    assert np.abs(weights).max() < 1e-3
    assert abs(intercept) < 1e-3


def test_rows_of_zeros_give_only_an_intercept_of_zero() -> None:
    rows: CSR = csr_matrix(np.array([[0.0, 1.0]] * 6))
    weights, intercept = fit_logistic_regression(rows, 2, 10)
    assert not weights.any()
    assert intercept == pytest.approx(0, abs=1e-9)


def test_very_separate_classes_with_almost_no_penalty_end() -> None:
    rows: F32 = np.array([[1, 1], [-1, 1]], dtype=np.float32) * np.float32(1e3)
    rows[:, 1] = 1
    weights, intercept = fit_logistic_regression(rows, 1, 1e9)
    assert np.isfinite(weights).all()
    assert np.isfinite(intercept)
    assert weights[0] > 0
