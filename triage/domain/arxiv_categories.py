"""arXiv's archives and categories, as of https://arxiv.org/category_taxonomy, November 2026.

A chosen name may be a category (`cs.LG`, `hep-th`) or a whole archive (`math`), which means all its
categories. Papers of other sources have other categories, such as bioRxiv's `neuroscience`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from triage.errors import ConfigError

_PARTS: Final = {
    "astro-ph": "CO EP GA HE IM SR",
    "cond-mat": "dis-nn mes-hall mtrl-sci other quant-gas soft stat-mech str-el supr-con",
    "cs": "AI AR CC CE CG CL CR CV CY DB DC DL DM DS ET FL GL GR GT HC IR IT LG LO MA MM MS NA NE"
    " NI OH OS PF PL RO SC SD SE SI SY",
    "econ": "EM GN TH",
    "eess": "AS IV SP SY",
    "math": "AC AG AP AT CA CO CT CV DG DS FA GM GN GR GT HO IT KT LO MG MP NA NT OA OC PR QA RA RT"
    " SG SP ST",
    "nlin": "AO CD CG PS SI",
    "physics": "acc-ph ao-ph app-ph atm-clus atom-ph bio-ph chem-ph class-ph comp-ph data-an ed-ph"
    " flu-dyn gen-ph geo-ph hist-ph ins-det med-ph optics plasm-ph pop-ph soc-ph space-ph",
    "q-bio": "BM CB GN MN NC OT PE QM SC TO",
    "q-fin": "CP EC GN MF PM PR RM ST TR",
    "stat": "AP CO ME ML OT TH",
}
_WITHOUT_PARTS: Final = (
    "gr-qc hep-ex hep-lat hep-ph hep-th math-ph nucl-ex nucl-th quant-ph".split()
)
ARCHIVES: Final = tuple(sorted([*_PARTS, *_WITHOUT_PARTS]))
CATEGORIES: Final = tuple(
    f"{archive}.{part}".rstrip(".")
    for archive in ARCHIVES
    for part in _PARTS.get(archive, "").split() or [""]
)
"""All categories, without the archives that have several."""

_BY_FOLDED: Final = {name.casefold(): name for name in (*ARCHIVES, *CATEGORIES)}
_LETTERS: Final = re.compile(r"[^a-z]")
_BY_LETTERS: Final = {_LETTERS.sub("", folded): name for folded, name in _BY_FOLDED.items()}
_TWO_CAPITALS: Final = re.compile(r"\.[A-Z]{2}\Z")
_N_NEAREST: Final = 3


@lru_cache(maxsize=1 << 14)
def watched(chosen: tuple[str, ...], categories: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of the chosen names under which a paper of these categories is, in order.

    Any category that begins with the name of an archive is in it, so new ones of arXiv are, too.
    """
    archives = {category.partition(".")[0] for category in categories}
    return tuple(name for name in chosen if name in categories or name in archives)


def check_chosen(names: Iterable[str], place: str) -> None:
    """Check that these are categories or archives of arXiv in its own spelling.

    Args:
        place: where they stand, for the message.

    Raises:
        ConfigError: one of them is not; the message has the nearest ones.
    """
    for name in names:
        if not is_known(name):
            raise ConfigError(f"{place}: {_refusal(name)}")


def check(name: str) -> str:
    """Return a category that a subscriber chooses: of arXiv in its spelling, or of another source.

    Other sources have subjects (`neuroscience`) and tags (`node.js`). A name is taken for one of
    arXiv if it ends as in `cs.XX`, if it has a dot or hyphen and begins nearly like one, or if only
    these are missing, as in `csLG`.

    Raises:
        ConfigError: it is taken for one of arXiv, which has none of this name.
    """
    folded = name.casefold()
    archive, dot, _ = folded.partition(".")
    is_near = difflib.get_close_matches(archive, ARCHIVES, n=1, cutoff=0.75)
    if folded in _BY_FOLDED:
        return _BY_FOLDED[folded]
    is_run_together = _LETTERS.sub("", folded) in _BY_LETTERS
    if _TWO_CAPITALS.search(name) or is_run_together or (is_near and (dot or "-" in archive)):
        raise ConfigError(_refusal(name))
    return name


def is_known(name: str) -> bool:
    """Return whether this is a category or an archive of arXiv in its own spelling."""
    return _BY_FOLDED.get(name.casefold()) == name


def describe_nearest(name: str) -> str:
    """Return a hint for somebody who wrote this: the nearest categories of arXiv, or the form."""
    near = ", ".join(_nearest(name.casefold()))
    return f"did you mean {near}?" if near else "write one as in cs.CL, hep-th or math"


def _refusal(name: str) -> str:
    return f"{name[:60]!r} is not one of arXiv's categories: {describe_nearest(name)}"


def _nearest(folded: str) -> list[str]:
    """Return the most similar names, best first.

    These are the name with the same letters (`cslg`: cs.LG), then those with the same last part
    (`cs.ML`: stat.ML), then those of the same archive (`cs.LC`: cs.CL, cs.LO), then all others.
    """
    letters = [name for key, name in _BY_LETTERS.items() if key == _LETTERS.sub("", folded)]
    archive, _, part = folded.rpartition(".")
    same = [name for key, name in _BY_FOLDED.items() if part and key.endswith(f".{part}")]
    own = [each.casefold() for each in _PARTS.get(archive, "").split()]
    own.sort(key=lambda each: _similarity(each, part), reverse=True)
    within = [_BY_FOLDED[f"{archive}.{each}"] for each in own[:_N_NEAREST]] if part else []
    cutoff = 0.5 if "." in folded or "-" in folded else 0.75
    similar = difflib.get_close_matches(folded, _BY_FOLDED, n=_N_NEAREST, cutoff=cutoff)
    others = [_BY_FOLDED[each] for each in similar]
    return list(dict.fromkeys([*letters, *same, *within, *others]))[:_N_NEAREST]


def _similarity(one: str, other: str) -> tuple[bool, bool, float, str]:
    """Return what orders last parts: swapped letters first, then the same first letter."""
    ratio = difflib.SequenceMatcher(None, one, other).ratio()
    return sorted(one) == sorted(other), one[:1] == other[:1], ratio, one
