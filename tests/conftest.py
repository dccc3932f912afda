"""What every test may rely on: one thread, no settings from outside, the checkout's root."""

from __future__ import annotations

import os
from pathlib import Path

# Set before numpy, scikit-learn or LightGBM load: pytest already runs one worker per core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# A busy machine is slow, not wrong.
settings.register_profile("triage", deadline=None, print_blob=True)
settings.load_profile("triage")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the long forms of tests")


def pytest_configure() -> None:
    for name in [name for name in os.environ if name.startswith("TRIAGE_")]:
        del os.environ[name]


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the checkout's top folder."""
    return Path(__file__).resolve().parents[1]
