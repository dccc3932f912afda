"""Turns the MathML of publishers' titles and abstracts into text: `x²` and `√s=13`."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Final

from triage.errors import SourceError
from triage.sources.text import tex
from triage.sources.text.tex_tables import COMBINING
from triage.sources.text.xml import parse_root

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_MATH: Final = re.compile(
    r"<(?:\w{1,9}:)?math\b[^<>]{0,300}>.{0,5000}?</(?:\w{1,9}:)?math\s*>", re.DOTALL | re.IGNORECASE
)
# JATS 1.3, `alternatives`: the same formula in TeX and in MathML.
_IN_TEX_TOO: Final = re.compile(
    r"<(?:\w{1,9}:)?tex-math\b[^<>]{0,300}>(?:[^<>]{0,1000}\\begin\{document\})?([^<>]{0,2000}?)"
    r"(?:\\end\{document\}\s*)?</(?:\w{1,9}:)?tex-math>\s*"
    r"(?:<(?:\w{1,9}:)?math\b[^<>]{0,300}>.{0,5000}?</(?:\w{1,9}:)?math\s*>)?",
    re.DOTALL | re.IGNORECASE,
)
_TAG: Final = re.compile(r"<(/?)(?:\w{1,9}:)?(\w+)[^<>]*?(/?)>")
_ACCENTS: Final = {"¯": "bar", "‾": "bar", "ˆ": "hat", "˜": "tilde", "˙": "dot", "→": "vec"}


def to_text(text: str) -> str:
    """Return `text` with its MathML elements as readable text; unreadable ones are unchanged."""
    return _MATH.sub(_formula, _IN_TEX_TOO.sub(r"\1", text))


def _formula(found: re.Match[str]) -> str:
    bare = _TAG.sub(r"<\1\2\3>", found[0]).replace("&", "&amp;")
    try:
        root = parse_root(bare.encode(errors="replace"), "MathML")
    except SourceError:
        return found[0]
    return _text(root)


def _text(element: Element) -> str:
    parts = [_text(child) for child in element]
    match element.tag, parts:
        case "annotation" | "annotation-xml", _:
            return ""
        case "mspace", _:
            return " "
        case "msup", [base, raised]:
            return base + tex.script("^", raised)
        case "msub", [base, lowered]:
            return base + tex.script("_", lowered)
        case "msubsup", [base, lowered, raised]:
            return base + tex.script("_", lowered) + tex.script("^", raised)
        case "mfrac", [above, below]:
            return tex.fraction(above, below)
        case "msqrt", _:
            return tex.root("".join(parts))
        case "mover", [base, above]:
            return base + COMBINING.get(_ACCENTS.get(above, above), "")
        case "mfenced", _:
            return f"({','.join(parts)})"
    return unescape(" ".join((element.text or "").split("\n"))) + "".join(parts)
