"""Decodes the text files that programs write: UTF-8, UTF-16 or, for want of these, cp1252."""

from __future__ import annotations

import codecs


def utf_16(head: bytes) -> str | None:
    """Return the name of the UTF-16 encoding of a text that begins with `head`, else None.

    PowerShell 5 writes UTF-16 with a byte order mark. Without a mark, the text is little-endian if
    most bytes at odd places are zero and none at even places is, and big-endian if it is reversed.
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = head[::2], head[1::2]
    if odd.count(0) > len(odd) / 2 and 0 not in even:
        return "utf-16-le"
    return "utf-16-be" if even.count(0) > len(even) / 2 and 0 not in odd else None


def decode(content: bytes) -> str:
    """Return the text of a file, without byte order mark.

    Raises:
        ValueError: it is no text, because it has a zero byte.
    """
    wide = utf_16(content[:4096])
    if wide is not None:
        return content.decode(wide, "replace")
    if b"\0" in content:
        raise ValueError("the file has a zero byte, so it is no text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")
