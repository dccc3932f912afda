"""Whether a record says that its paper was withdrawn."""

from __future__ import annotations

import re
from typing import Final

_THING: Final = r"(?:paper|article|manuscript|submission|preprint|work|version|draft|it)"
_WITHDRAWN: Final = re.compile(
    rf"^\W*(?:this|the|our)\s+{_THING}\s+(?:has|have|had|is|was)\s+(?:now\s+)?(?:been\s+)?"
    r"(?:temporarily\s+)?(?:being\s+)?withdrawn\b",
    re.IGNORECASE,
)
_WITHDRAWN_COMMENT: Final = re.compile(
    rf"^\W*(?:paper\s+|article\s+)?withdrawn\b(?!\s+from)"
    rf"|\b{_THING}\b[^.;]{{0,120}}?\b(?:been|is|was|being|be)\s+(?:temporarily\s+)?withdrawn\b"
    rf"|\bwithdr(?:aw|awing|ew)\b\s+(?:this|the|our)\s+{_THING}\b",
    re.IGNORECASE,
)


def says_withdrawn(abstract: str, comment: str) -> bool:
    """Tell whether a record says that its paper was withdrawn.

    arXiv has no field for it: it is in the comment or at the beginning of the abstract.
    https://info.arxiv.org/help/withdraw.html, November 2026.
    """
    is_in_comment = "withdr" in comment.casefold() and _WITHDRAWN_COMMENT.search(comment)
    return bool(is_in_comment or _WITHDRAWN.match(abstract))
