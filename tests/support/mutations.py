"""Answers that have changed their form: a recorded one goes in, one that differs comes out.

    mutated(body, random.Random("seed")) → body, what was done

Half of the changes hit one place, the others every place of the same name, as a new release does.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree as ET

JUNK = (
    "\u202e\u2066 txet",
    "\ud800",
    "\x00\x1b[2J",
    "e" + "\u0301" * 500,
    "\U0001f9ea" * 40,
    "\ufeff\ufffe\uffff",
    "مرحبا <b>&amp;</b> $\\alpha$ {{7*7}}",
    "A" * 200_000,
    " \u2028\u2029\t\r\n ",
)
DATES = ("2026-6-30", "30.6.2026", "2026-06-31", "0000-00-00", "1782777600", "tomorrow", "NA", "")
DEPTHS = (1, 3, 90, 400, 940, 990)


def mutated(body: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Return a changed form of a JSON or XML document, and what was changed."""
    if rng.random() < 0.12:
        return _cut(body, rng)
    change = _xml if body.lstrip()[:1] == b"<" else _json
    return change(body, rng)


def _cut(body: bytes, rng: random.Random) -> tuple[bytes, str]:
    at = rng.randrange(len(body))
    kind = rng.choice(("cut", "bytes", "twice", "coding"))
    if kind == "cut":
        return body[:at], f"cut at {at}"
    if kind == "bytes":
        return body[:at] + rng.randbytes(8) + body[at + 4 :], f"8 bytes of noise at {at}"
    if kind == "twice":
        return body + body, "the document twice"
    return body.decode().encode("utf-16"), "in UTF-16"


# -- JSON ------------------------------------------------------------------------------------------

Place = tuple[Any, Any]
_DEEP = "\ue000 deep "


def _places(value: Any) -> Iterator[Place]:
    """Yield every place of a document as its container and key."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _json(body: bytes, rng: random.Random) -> tuple[bytes, str]:
    document = [json.loads(body)]
    places = list(_places(document))
    container, key = rng.choice(places)
    named = [place for place in places if place[1] == key and isinstance(place[0], dict)]
    hit = named if named and rng.random() < 0.5 else [(container, key)]
    name = rng.choice(sorted(_JSON_CHANGES))
    how = random.Random(rng.random())  # noqa: S311 - no secret
    for n, (where, at) in enumerate(sorted(hit, key=lambda place: -_number(place[1]))):
        state = how.getstate()
        _JSON_CHANGES[name](where, at, how)
        if n + 1 < len(hit):
            how.setstate(state)  # everywhere alike
    text = json.dumps(document[0] if len(document) == 1 else document)
    for depth in DEPTHS:
        text = text.replace(json.dumps(f"{_DEEP}{depth}"), "[" * depth + "1" + "]" * depth)
    return text.encode(), f"{name} {key!r} at {len(hit)} places"


def _number(key: Any) -> int:
    return key if isinstance(key, int) else 0


def _rename(where: Any, at: Any, rng: random.Random) -> None:
    if isinstance(where, dict) and at in where:
        where[rng.choice((f"{at}_v2", at.upper(), f" {at}", "", "id"))] = where.pop(at)


def _drop(where: Any, at: Any, rng: random.Random) -> None:
    if at in where if isinstance(where, dict) else at < len(where):
        del where[at]
    if not where and isinstance(where, list):
        where.append([])


def _retype(where: Any, at: Any, rng: random.Random) -> None:
    others = (7, -1, 1.5, 10**30, True, "", "text", [], {}, ["a"], {"a": 1}, [None])
    where[at] = rng.choice(others)


def _nest(where: Any, at: Any, rng: random.Random) -> None:
    where[at] = rng.choice(({"value": where[at]}, [where[at]], f"{_DEEP}{rng.choice(DEPTHS)}"))


def _again(where: Any, at: Any, rng: random.Random) -> None:
    if isinstance(where, list):
        where.insert(at, json.loads(json.dumps(where[at])))
    elif isinstance(where.get(at), list):
        where[at] = where[at] * 2
    else:
        where[f"{at}2"] = where[at]


def _junk(where: Any, at: Any, rng: random.Random) -> None:
    junk = rng.choice(JUNK)
    where[at] = rng.choice((junk, f"{where[at]}{junk}"[:300_000], f"{junk}{where[at]}"[:300_000]))


_JSON_CHANGES: dict[str, Callable[[Any, Any, random.Random], None]] = {
    "rename": _rename,
    "drop": _drop,
    "null": lambda where, at, rng: where.__setitem__(at, None),
    "retype": _retype,
    "nest": _nest,
    "date": lambda where, at, rng: where.__setitem__(at, rng.choice(DATES)),
    "duplicate": _again,
    "junk": _junk,
}


# -- XML -------------------------------------------------------------------------------------------


def _xml(body: bytes, rng: random.Random) -> tuple[bytes, str]:
    root = ET.fromstring(body)  # noqa: S314 - our own
    holder = ET.Element("holder")
    holder.append(root)
    pairs = [(parent, child) for parent in holder.iter() for child in parent]
    parent, child = rng.choice(pairs)
    alike = [pair for pair in pairs if pair[1].tag == child.tag]
    hit = alike if rng.random() < 0.5 else [(parent, child)]
    tag = str(child.tag).rpartition("}")[2]
    name = rng.choice(sorted(_XML_CHANGES))
    seed = rng.random()
    for where, element in hit:
        _XML_CHANGES[name](where, element, random.Random(seed))  # noqa: S311
    # No document has two roots, or none.
    text = ET.tostring(holder[0] if len(holder) else holder, encoding="unicode")
    for depth in DEPTHS:
        deep = "<d>" * depth + "1" + "</d>" * depth
        text = text.replace(f"{_DEEP}{depth};", deep)
    return text.encode("utf-8", "replace"), f"{name} {tag!r} at {len(hit)} places"


def _xml_rename(parent: ET.Element, element: ET.Element, rng: random.Random) -> None:
    space, _, name = str(element.tag).rpartition("}")
    renamed = (f"{name}2", name.upper(), "id", "title")
    element.tag = rng.choice(
        (f"{{urn:other}}{name}", *(f"{space}}}{n}" if space else n for n in renamed))
    )


def _xml_empty(parent: ET.Element, element: ET.Element, rng: random.Random) -> None:
    for child in list(element):
        element.remove(child)
    element.text = None
    element.attrib.clear()


def _xml_attributes(parent: ET.Element, element: ET.Element, rng: random.Random) -> None:
    if element.attrib and rng.random() < 0.5:
        element.attrib.pop(rng.choice(sorted(element.attrib)))
    else:
        element.set(rng.choice(("term", "type", "href", "nil")), rng.choice(("", "html", "true")))


def _xml_text(parent: ET.Element, element: ET.Element, rng: random.Random) -> None:
    element.text = rng.choice(("7", "null", "[]", "true", "-1", "{}"))


def _xml_nest(parent: ET.Element, element: ET.Element, rng: random.Random) -> None:
    if rng.random() < 0.5:
        element.text = f"{_DEEP}{rng.choice(DEPTHS)};"
        return
    inner = ET.Element("value")
    inner.text, element.text = element.text, None
    for child in list(element):
        element.remove(child)
        inner.append(child)
    element.append(inner)


def _xml_date(parent: ET.Element, element: ET.Element, rng: random.Random) -> None:
    element.text = rng.choice(DATES)


def _xml_again(parent: ET.Element, element: ET.Element, rng: random.Random) -> None:
    if parent.tag != "holder":
        parent.append(ET.fromstring(ET.tostring(element)))  # noqa: S314


def _xml_junk(parent: ET.Element, element: ET.Element, rng: random.Random) -> None:
    # XML has no control characters, and nothing but XML would come so far.
    junk = "".join(c for c in rng.choice(JUNK) if c in "\t\n" or (c >= " " and c < "\ud800"))
    element.text = rng.choice((junk, f"{element.text or ''}{junk}"))


_XML_CHANGES: dict[str, Callable[[ET.Element, ET.Element, random.Random], None]] = {
    "rename": _xml_rename,
    "drop": lambda parent, element, rng: parent.remove(element),
    "empty": _xml_empty,
    "attributes": _xml_attributes,
    "retype": _xml_text,
    "nest": _xml_nest,
    "date": _xml_date,
    "duplicate": _xml_again,
    "junk": _xml_junk,
}
