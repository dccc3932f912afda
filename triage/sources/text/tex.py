"""Converts TeX in titles and abstracts to plain Unicode. The only module with pylatexenc.

Nothing is executed: a command is a known symbol, a wrapper whose argument is shown, or a word.
pylatexenc takes 20 ms per 1,000 characters, so it converts only the formulas that the tables
cannot, and each distinct formula once. All loops are linear in the text.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Final

from triage.sources.text import tex_tables as tables

_MARK: Final = re.compile(r"\\[a-zA-Z]+\*?|\\.|[${}]", re.DOTALL)
_TEX: Final = re.compile(r"[\\$]|[\^_]\{|\{,\}")
_PLAIN_SCRIPT: Final = re.compile(r"[^{}\\$]{0,40}")
_DISPLAYED: Final = re.compile(r"\$\$([^$]+)\$\$")
# What an accent stands on: a group, a letter's command such as `\\i`, or a letter.
_ACCENTED: Final = re.compile(r"\s*(?:(\{)|\\([A-Za-z]{1,2})(?![A-Za-z])\s?(?:\{\})?|([A-Za-z]))")
_SECOND_ACCENT: Final = re.compile(r"\s*\\([`'^~=.\"])")
_FIRST_LETTER: Final = re.compile(r"\s*([^\W\d_][\u0300-\u036f]*)")
_LONGEST_ACCENTED: Final = 40
_ESCAPES: Final = tables.ESCAPES | {"|": "‖"}
# An accent takes the place of the dot.
_DOTTED: Final = {"i": "i", "j": "j"}
_LETTERS_OF_WORDS: Final = frozenset({"o", "O", "l", "L", "aa", "ae", "AE", "oe", "OE", "ss"})
# Quotation marks that JSON or a program escaped.
_ESCAPED_QUOTES: Final = re.compile(r'(?<![\w{}\\])\\"([^"\\{}]{1,80})\\"(?![\w{}])')
# APS writes accents twice, for formulas and for text: `\ifmmode \acute{c}\else \'{c}\fi{}`.
_IN_TEXT_MODE: Final = re.compile(
    r"\\ifmmode(?![A-Za-z]).{0,60}?\\else(?![A-Za-z]) ?(.{0,60}?) ?\\fi(?![A-Za-z])(?:\{\})?"
)
_COMMAND: Final = re.compile(r"\\([a-zA-Z]+)")
_SCRIPTABLE: Final = re.compile(r"[0-9+=()\u2212-]+")
_WORD: Final = re.compile(r"[\w.,\u2032*%]+|.", re.DOTALL)
_LONGEST_FORMULA: Final = 2_000
_DEEPEST_FORMULA: Final = 30
_ACCENT_COMMAND: Final = re.compile(
    r"\\(hat|bar|tilde|vec|d?dot|overline|widehat|widetilde) *(?:\{(\w+)\}|(\w))"
)
_HIGH_SIGNS: Final = "\u2032*†‡⋆°'"
# Control characters, which clean text never has, protect finished signs from the next steps.
_FINISHED: Final = str.maketrans("{}^_", "\x01\x02\x03\x04")
_RESTORED: Final = str.maketrans("\x01\x02\x03\x04", "{}^_")


def to_unicode(text: str, *, is_bibtex: bool = False) -> str:
    """Return `text` with its TeX made readable; text without TeX is unchanged.

    A dollar sign opens a formula only if another one closes it, so prices stay prices.

    Args:
        is_bibtex: braces without a command only group, as in `{DNA}`, and are removed.
    """
    if not is_bibtex and _TEX.search(text) is None:
        return text
    text = _ESCAPED_QUOTES.sub(r'"\1"', _IN_TEXT_MODE.sub(r"\1", text))
    return _Reader(text, is_bibtex).read()


class _Reader:
    """One pass over the marks of a text: backslashes, dollars and braces."""

    def __init__(self, text: str, is_bibtex: bool = False) -> None:
        self.is_bibtex = is_bibtex
        self.text = text = _DISPLAYED.sub(r" $\1$ ", text)
        self.marks = list(_MARK.finditer(text))
        self.partner = _brace_pairs(self.marks)
        dollars = (mark.start() for mark in self.marks if mark[0] == "$")
        self.dollar_after = dict(pairwise(dollars))
        self.instead: dict[int, str] = {}  # the replacement of the brace at a position
        self.out: list[str] = []
        self.pos = 0

    def read(self) -> str:
        for mark in self.marks:
            start, piece = mark.start(), mark[0]
            if start < self.pos:
                continue
            self.out.append(self.text[self.pos : start])
            self.pos = mark.end()
            name = piece[1:].rstrip("*")
            if piece == "$":
                self._dollar(start)
            elif piece in "{}":
                self._brace(start, piece)
            elif piece in {r"\(", r"\["}:
                self._bracketed(piece)
            elif len(name) == 1 and name in tables.COMBINING:
                self._accent(name)
            elif name.isalpha():
                self._command(start, name)
            else:
                self.out.append(tables.ESCAPES.get(name, piece))
        self.out.append(self.text[self.pos :])
        return "".join(self.out)

    def _dollar(self, start: int) -> None:
        end = self.dollar_after.get(start)
        source = self.text[self.pos : end] if end is not None else ""
        if end is not None and _is_formula(source, self.text[end + 1 : end + 2]):
            self._show(source)
            self.pos = end + 1
        else:
            self.out.append("$")

    def _bracketed(self, piece: str) -> None:
        end = self.text.find(r"\)" if piece == r"\(" else r"\]", self.pos)
        if end < 0:
            self.out.append(piece[1])
        else:
            self._show(self.text[self.pos : end])
            self.pos = end + 2

    def _show(self, source: str) -> None:
        # Some authors put links into formulas.
        linked = "\\href" in source or "\\url" in source
        self.out.append(_Reader(source, self.is_bibtex).read() if linked else formula(source))

    def _brace(self, start: int, piece: str) -> None:
        if start not in self.instead and start in self.partner:
            end = self.partner[start]
            body = self.text[start + 1 : end]
            mark = self.out[-1][-1:]
            if mark and mark in "^_" and _PLAIN_SCRIPT.fullmatch(body):
                self.out[-1] = self.out[-1][:-1] + script(mark, body)
                self.pos = end + 1
                return
            if body == "," or body[:1] == "\\":
                self._unwrap(start)
        self.out.append(self.instead.get(start, "" if self.is_bibtex else piece))

    def _accent(self, name: str) -> None:
        marks, at = tables.COMBINING[name], self.pos
        second = _SECOND_ACCENT.match(self.text, at)
        if second is not None:
            marks, at = tables.COMBINING[second[1]] + marks, second.end()
        found = _ACCENTED.match(self.text, at)
        # `\\cx` is a command of its own.
        is_apart = found is not None and not (name.isalpha() and found[3] and found[0] == found[3])
        base, end = self._base(found) if found is not None and is_apart else ("", 0)
        letter = _FIRST_LETTER.match(base)
        if letter is None:
            self.out.append(name)
        else:
            self.out.append(letter[1] + marks + base[letter.end() :])
            self.pos = end

    def _base(self, found: re.Match[str]) -> tuple[str, int]:
        """Return the text under an accent and its end; empty text if there is none."""
        if not found[1]:
            return found[3] or _DOTTED.get(found[2]) or tables.LETTERS.get(
                found[2], ""
            ), found.end()
        opened = found.start(1)
        end = self.partner.get(opened, -1)
        if not 0 < end - opened <= _LONGEST_ACCENTED:
            return "", 0
        body = self.text[opened + 1 : end]
        dotted = _DOTTED.get(body.strip("\\ {}"))
        return dotted or _Reader(body, self.is_bibtex).read(), end + 1

    def _command(self, start: int, name: str) -> None:
        if name in tables.FORMULAS:
            self._skip_arguments()
            self.out.append(formula(self.text[start : self.pos]))
        elif name in tables.FORGOTTEN:
            self._skip_option()
            self._skip_arguments()
            if self.out[-1].endswith((" ", "~")):
                self.out[-1] = self.out[-1][:-1]
        elif name in tables.SECOND_ARGUMENT:
            self._second_argument(name)
        elif name in tables.SWITCHES:
            if not self._unwrap(self.pos) and self.text[self.pos : self.pos + 1] == " ":
                self.pos += 1
        elif name in {"textsuperscript", "textsubscript"}:
            self._raise_or_lower("^" if name == "textsuperscript" else "_")
        elif name in {"footnote", "thanks"}:
            self._unwrap(self.pos, " (", ")")
        elif name in tables.BLANKS:
            self.out.append(" ")
        else:
            self._word(name)

    def _word(self, name: str) -> None:
        """Show a symbol, or the arguments of an author's own command, or else its name."""
        sign = "\\" if name == "textbackslash" and self.is_bibtex else symbol(name)
        empty = self.text[self.pos : self.pos + 2] == "{}"
        if sign or empty or self.pos not in self.partner:
            glued = name in tables.SIGNS and not self.out[-1].endswith(" ")
            self.out.append(sign or name)
            # “S\o rensen”, but “Pawe\l Kowalski”
            glued = glued or (
                name in _LETTERS_OF_WORDS and self.text[self.pos + 1 : self.pos + 2].islower()
            )
            if empty or (glued and self.text[self.pos : self.pos + 1] == " "):
                self.pos += 2 if empty else 1
            return
        at, before = self.pos, ""
        while self._unwrap(at, before):
            at, before = self.partner[at] + 1, " "

    def _raise_or_lower(self, mark: str) -> None:
        end = self.partner.get(self.pos, -1)
        body = self.text[self.pos + 1 : end] if end > 0 else ""
        if body and _PLAIN_SCRIPT.fullmatch(body):
            self.out.append(plain_script(mark, body))
            self.pos = end + 1
        else:
            self._unwrap(self.pos)

    def _second_argument(self, name: str) -> None:
        self._skip_option()
        if self.pos not in self.partner:
            return
        first = self.text[self.pos + 1 : self.partner[self.pos]].strip()
        self.pos = self.partner[self.pos] + 1
        if self.pos in self.partner:
            shown = self.text[self.pos : self.partner[self.pos]]
            names_page = name == "href" and first.startswith("http") and first not in shown
            self._unwrap(self.pos, "", f" ({first})" if names_page else "")

    def _unwrap(self, at: int, before: str = "", after: str = "") -> bool:
        """Remove the braces that open at `at`; their content is read later. False if none open."""
        if at not in self.partner:
            return False
        self.instead[at] = before
        self.instead[self.partner[at]] = after
        return True

    def _skip_arguments(self) -> None:
        while self.pos in self.partner:
            self.pos = self.partner[self.pos] + 1

    def _skip_option(self) -> None:
        if self.text[self.pos : self.pos + 1] == "[":
            end = self.text.find("]", self.pos, self.pos + 200)
            self.pos = end + 1 if end > 0 else self.pos


def _brace_pairs(marks: list[re.Match[str]]) -> dict[int, int]:
    """Return the position of the closing brace for each opening one that has one."""
    pairs: dict[int, int] = {}
    unclosed: list[int] = []
    for mark in marks:
        if mark[0] == "{":
            unclosed.append(mark.start())
        elif mark[0] == "}" and unclosed:
            pairs[unclosed.pop()] = mark.start()
    return pairs


def _is_formula(source: str, following: str) -> bool:
    if not source.strip() or len(source) > _LONGEST_FORMULA:
        return False
    if any(c in source for c in "\\^_"):
        return True
    # Pandoc's rule: “$5 and $10” has a space before the second dollar, “$5-$10” a digit after it.
    return not (source[0].isspace() or source[-1].isspace() or following.isdigit())


@lru_cache(maxsize=4_096)
def symbol(name: str) -> str:
    """Return the text of the command `name` without arguments, or the empty string."""
    known = (
        tables.LETTERS.get(name) or tables.SIGNS.get(name) or (name if name in tables.NAMES else "")
    )
    if known or name not in _known_commands():
        return known
    return _by_pylatexenc(f"\\{name}{{}}").strip("{} ")


@lru_cache(maxsize=32_768)
def formula(source: str) -> str:
    r"""Return one formula as readable text: `10^{-3}` is `10⁻³`, `\frac{a}{b}` is `a/b`."""
    text = source
    if "\\" in text:
        text = text.replace(r"\{", "\x01").replace(r"\}", "\x02").replace(r"\_", "\x04")
        text = re.sub(r"\\unicode\{(x?)([0-9A-Fa-f]{1,6})\}", _code_point, text)
        text = re.sub(
            r"\\mathbb *\{?([A-Z])\}?", lambda f: f[1].translate(tables.DOUBLE_STRUCK), text
        )
        text = re.sub(r"\\([a-zA-Z]+)\*?( *)", _formula_command, text)
        text = re.sub(r"\\([ ,;:\\!\n\t>%&_#$|-])", lambda f: _ESCAPES.get(f[1], ""), text)
    # Inside out, four levels; pylatexenc converts deeper ones.
    for _ in range(4):
        before = text
        text = re.sub(r"\{(\{[^{}\\]*\})\}", r"\1", text)
        text = re.sub(r"([\^_])(?: *\{([^{}\\]*)\}|([^\s{}\\^_]))", _script, text)
        if "\\" in text:
            text = re.sub(
                r"\\[dt]?frac *\{([^{}\\]*)\} *\{([^{}\\]*)\}", lambda f: fraction(f[1], f[2]), text
            )
            text = re.sub(r"\\binom *\{([^{}\\]*)\} *\{([^{}\\]*)\}", r"(\1 choose \2)", text)
            text = re.sub(r"\\pmod *(?:\{([^{}\\]*)\}|(\w))", r"(mod \1\2)", text)
            text = re.sub(r"\\sqrt *\{([^{}\\]*)\}", lambda f: root(f[1]), text)
            text = _ACCENT_COMMAND.sub(_accented, text)
        if text == before:
            break
    if "\\" in text:
        text = _by_pylatexenc(text)
    return text.replace("{", "").replace("}", "").translate(_RESTORED)


def _formula_command(found: re.Match[str]) -> str:
    name, blanks = found[1], found[2]
    if name in tables.LETTERS:
        following = _COMMAND.match(found.string, found.end())
        is_spaced = following is not None and following[1] in tables.SIGNS
        return tables.LETTERS[name] + (blanks if is_spaced else "")
    if name in tables.SIGNS:
        glued = found.start() == 0 or found.string[found.start() - 1] != " "
        return tables.SIGNS[name] + ("" if glued else blanks)
    if name in tables.NAMES:
        before = found.string[: found.start()][-1:]
        after = found.string[found.end() :][:1]
        name = "mod" if name == "bmod" else name
        return (" " if before.isalnum() else "") + name + (" " if after.isalnum() else blanks)
    if name in tables.SWITCHES:
        return " " if blanks and name.startswith("text") else ""
    if name in tables.BLANKS:
        return " "
    return found[0]


def _code_point(found: re.Match[str]) -> str:
    code = int(found[2], 16 if found[1] else 10) if found[1] or found[2].isdecimal() else 0
    return chr(code) if 0x20 <= code <= 0x10FFFF else ""


def script(mark: str, body: str) -> str:
    """Return `body` as a superscript (`mark` is `^`) or subscript (`_`), in Unicode if possible."""
    body = body.strip()
    if _SCRIPTABLE.fullmatch(body):
        return body.translate(tables.RAISED if mark == "^" else tables.LOWERED)
    if mark == "^" and body == "∘":
        return "°"
    if not body or (mark == "^" and (body in tables.ORDINALS or body.strip(_HIGH_SIGNS) == "")):
        return body
    plain = _WORD.fullmatch(body) or (body[0] == "(" and body[-1] == ")")
    return f"{mark}{body}" if plain else f"{mark}({body})"


def plain_script(mark: str, body: str) -> str:
    """Return `body` raised or lowered if Unicode can, else as it is: `CO₂`, but `10th`."""
    written = script(mark, body)
    return body if written[:1] in {"^", "_"} else written


def _script(found: re.Match[str]) -> str:
    body = found[3] if found[2] is None else found[2]
    return script(found[1], body).translate(_FINISHED)


def fraction(above: str, below: str) -> str:
    """Return a fraction on one line, with brackets around what is no single word."""
    return "/".join(part if _WORD.fullmatch(part) else f"({part})" for part in (above, below))


def root(body: str) -> str:
    """Return a square root, with brackets around what is no single word."""
    return f"√{body}" if _WORD.fullmatch(body) else f"√({body})"


def _accented(found: re.Match[str]) -> str:
    letters = found[2] or found[3]
    return letters + tables.COMBINING[found[1]] if len(letters) == 1 else letters


# -- pylatexenc, for the rest ----------------------------------------------------------------------


def _by_pylatexenc(source: str) -> str:
    """Convert with pylatexenc; unreadable input is returned unchanged."""
    if _depth(source) > _DEEPEST_FORMULA or len(source) > _LONGEST_FORMULA:
        return source
    known = _known_commands()

    def plain(found: re.Match[str]) -> str:
        name, group = found[1], found[2]
        if name in known:
            # Otherwise pylatexenc takes a Greek letter for a part of the command's name.
            return found[0] if group else found[0] + " "
        return group or f" {name} "

    try:
        text = _converter()(re.sub(r"\\([a-zA-Z]+)(\s*\{)?", plain, source))
    except Exception:  # A bug of the parser must not cost a paper.
        return source
    return source if "%s" in text else text


def _depth(source: str) -> int:
    deepest = depth = 0
    for c in source:
        depth += (c == "{") - (c == "}")
        deepest = max(deepest, depth)
    return deepest


@lru_cache(maxsize=1)
def _converter() -> Callable[[str], str]:
    from pylatexenc.latex2text import LatexNodes2Text

    # It logs a warning for all broken TeX, which is common.
    logging.getLogger("pylatexenc").setLevel(logging.CRITICAL)
    convert: Callable[[str], str] = LatexNodes2Text(math_mode="text").latex_to_text
    return convert


@lru_cache(maxsize=1)
def _known_commands() -> frozenset[str]:
    from pylatexenc.latex2text import get_default_latex_context_db

    database = get_default_latex_context_db()
    reads_files = {"input", "include"}
    return frozenset(spec.macroname for spec in database.iter_macro_specs()) - reads_files
