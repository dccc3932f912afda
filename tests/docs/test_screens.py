"""The pictures of the pages are all there, none is large, and those that README shows exist."""

from __future__ import annotations

import re
from itertools import product

from benchmarks.screens import LARGEST, SCHEMES, SCREENS, SIGHTS, SIZES


def test_each_page_has_its_four_pictures_and_none_is_large() -> None:
    wanted = {f"{name}-{w}-{scheme}.png" for name, w, scheme in product(SIGHTS, SIZES, SCHEMES)}
    assert {path.name for path in SCREENS.iterdir()} == wanted
    assert len(wanted) == 24
    assert max(path.stat().st_size for path in SCREENS.iterdir()) <= LARGEST


def test_readme_shows_pictures_that_exist() -> None:
    text = (SCREENS.parents[1] / "README.md").read_text("utf-8")
    shown = re.findall(r"docs/screens/([\w-]+\.png)", text)
    assert shown
    assert all((SCREENS / name).exists() for name in shown)
