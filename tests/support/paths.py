"""Where the checkout's files are that tests read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
GOLDEN = ROOT / "tests" / "golden"
# Lies beside the checkout, but not everywhere: tests that read it skip without it.
SHARED = ROOT.parent / "shared"
