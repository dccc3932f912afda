"""Cleans, shortens and wraps text from outside for mails.

It never breaks a URL, and never separates a character from its combining marks.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST_TEXT = 20_000
TEXT_WIDTH = 78

# Control, bidirectional and separator characters, lone surrogates and noncharacters. None of them
# belongs in a line of text, and some hide or reorder the text around them (Unicode TR 36).
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufeff"
    "\ufff9-\ufffc"
    + "".join(chr((plane << 16) | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
    + "]"
)
# In a script without spaces, a URL would be joined to the words around it.
_JOINED_URL = re.compile(r"(?<=[^\0-\x7f“‘«])(?=https?://)|(?<=://)([!#-;=?-~]+)(?=[^\0-\x7f])")
_SENTENCE_END = re.compile(r"[.!?][\"')\]]?(?= [A-Z0-9])|[\u3002\uff01\uff1f]")


def storable(text: str) -> str:
    """Return text with U+FFFD for what databases reject: NUL and lone surrogates."""
    # The pattern takes a hundred times as long.
    if text.isprintable() or (text.isascii() and "\0" not in text):
        return text
    return _UNSTORABLE.sub("\ufffd", text)


def fold(text: str) -> str:
    """Return text without case and accents, to compare titles and names."""
    if text.isascii():
        return text.lower()
    return without_accents(unicodedata.normalize("NFKD", text).casefold())


def without_accents(text: str) -> str:
    """Return text in Unicode form NFKD (`ﬁ` becomes `fi`) without combining marks."""
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def clean(text: str) -> str:
    """Return the first LONGEST_TEXT characters as one line, with spaces around URLs in CJK text."""
    plain = " ".join(_UNSAFE.sub(" ", text[:LONGEST_TEXT]).split())
    if plain.isascii() or "://" not in plain:
        return plain
    return " ".join(_JOINED_URL.sub(lambda m: f"{m.group()} ", plain).split())


def one_line(text: str) -> str:
    """Return the printable characters of a text on one line, as files of other programs need it."""
    return " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())


def shorten(text: str, limit: int, *, at_sentence: bool = False) -> str:
    """Cut `text` to about `limit` characters at the end of a sentence or word, never in a URL."""
    if len(text) <= limit:
        return text
    if at_sentence:
        ends = [m.end() for m in _SENTENCE_END.finditer(text[: limit + 2]) if m.end() <= limit]
        if ends and ends[-1] > limit // 2:
            return text[: ends[-1]]
    head = text[:limit]
    space = head.rfind(" ")
    if space > limit // 2 or "://" in head[space + 1 :] or text[limit] == " ":
        cut = limit if text[limit] == " " else max(space, 0)
    else:
        cut = _breakable(text, limit - 1)
    head = head[:cut]
    if "://" in head[head.rfind(" ") + 1 :]:
        return f"{head} …"
    return head.rstrip(" ,;:\u2013\u2014-") + "…"


def _breakable(text: str, at: int) -> int:
    """Return the nearest place at or before `at` that separates no character from its marks."""
    while at > 1 and (
        unicodedata.category(text[at])[0] == "M"
        or text[at] == "\u200d"
        or "\U0001f3fb" <= text[at] <= "\U0001f3ff"
        or text[at - 1] == "\u200d"
    ):
        at -= 1
    return at


def wrap(text: str, indent: str = "", width: int = TEXT_WIDTH) -> str:
    """Wrap words greedily; every line but the first begins with `indent`.

    It breaks a word only if the word is longer than a line and has no URL. `textwrap` would break
    URLs and hyphenated words, and takes ten times as long. East Asian characters take two columns.
    """
    lines: list[str] = []
    line, used, room = "", 0, width - len(indent)
    for word in text.split():
        columns = _columns(word)
        if line and used + 1 + columns <= room:
            line, used = f"{line} {word}", used + 1 + columns
            continue
        if line:
            lines.append(line)
        while columns > room and "://" not in word:
            cut = _breakable(word, _n_that_fit(word, room)) or 1
            lines.append(word[:cut])
            word = word[cut:]
            columns = _columns(word)
        line, used = word, columns
    if line:
        lines.append(line)
    return f"\n{indent}".join(lines)


def _columns(word: str) -> int:
    if word.isascii():
        return len(word)
    return len(word) + sum(unicodedata.east_asian_width(c) in "WF" for c in word)


def _n_that_fit(word: str, room: int) -> int:
    """Return how many characters of a word that is too long fit into `room` columns."""
    used = 0
    for i, character in enumerate(word):
        used += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used > room:
            return i
    return len(word)
