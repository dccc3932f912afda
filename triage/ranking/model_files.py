"""Writes and reads sealed model folders: plain files with an HMAC, checked before parsing.

A folder has a `manifest.json` and the files that it names by their SHA-256. The manifest is valid
JSON whose first bytes are an HMAC-SHA256 over the rest, so a file that was not written with the
installation's key never reaches a parser. There is no pickle.

A crash at any moment leaves the old or the new model. Files have their hash in their name and are
written beside the old ones; the new manifest is renamed over the old one last.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triage.errors import ModelError
from triage.resources import rename_synced, write_synced

MANIFEST = "manifest.json"
_OPEN, _MIDDLE, _CLOSE = b'{"mac":"', b'","manifest":', b"}\n"
_MAC_LENGTH = 64
_MAX_MANIFEST_BYTES = 4_000_000
_ADVICE = "restore the folder from a backup or train again"


def write(
    folder: Path, kind: str, files: Mapping[str, bytes], facts: Mapping[str, object], key: bytes
) -> None:
    """Write and seal `files` and `facts` in `folder`, and delete its earlier files.

    The folder is created if missing. `kind`, e.g. "encoder", is part of the HMAC; `facts` are JSON
    values for the manifest; `key` is the installation's secret, not empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = {}
    for name, content in files.items():
        digest = hashlib.sha256(content).hexdigest()
        stem, dot, suffix = name.rpartition(".")
        stored = f"{stem or suffix}-{digest[:16]}{dot}{suffix if stem else ''}"
        named[name] = {"file": stored, "sha256": digest, "size": len(content)}
        _put(folder, stored, content)
    body = json.dumps(
        {"kind": kind, "files": named, **facts}, sort_keys=True, ensure_ascii=True
    ).encode()
    mac = _mac(kind, body, key).encode()
    _put(folder, MANIFEST, _OPEN + mac + _MIDDLE + body + _CLOSE)
    keep = {MANIFEST, *(str(entry["file"]) for entry in named.values())}
    for path in folder.iterdir():
        # Another process may be writing a file whose name begins with a dot.
        if path.name not in keep and path.is_file() and not path.name.startswith("."):
            path.unlink(missing_ok=True)


def read(folder: Path, kind: str, key: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the manifest and the files of a sealed folder.

    Raises:
        ModelError: a file is missing, damaged, of another kind, or sealed with another key.
    """
    manifest = _read_manifest(folder, kind, key)
    files = {}
    for name, entry in manifest["files"].items():
        path = folder / str(entry["file"])
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path} is missing or unreadable; {_ADVICE}") from error
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise ModelError(f"{path} is damaged: its hash is not the manifest's; {_ADVICE}")
        files[name] = content
    return manifest, files


def _read_manifest(folder: Path, kind: str, key: bytes) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise ModelError(f"{path} is too large to be a manifest; {_ADVICE}")
        raw = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{folder} has no readable {kind}; {_ADVICE}") from error
    start = len(_OPEN) + _MAC_LENGTH
    body_start = start + len(_MIDDLE)
    framed = raw.startswith(_OPEN) and raw[start:body_start] == _MIDDLE and raw.endswith(_CLOSE)
    mac, body = raw[len(_OPEN) : start], raw[body_start : -len(_CLOSE)]
    if not framed or not hmac.compare_digest(mac, _mac(kind, body, key).encode()):
        raise ModelError(
            f"{path} was changed, is no {kind}, or was sealed with another secret key; {_ADVICE}"
        )
    manifest: dict[str, Any] = json.loads(body)
    return manifest


def _mac(kind: str, body: bytes, key: bytes) -> str:
    if not key:
        raise ModelError("the key for sealing models is empty; set the secret key first")
    return hmac.new(key, f"triage {kind}\n".encode() + body, hashlib.sha256).hexdigest()


def _put(folder: Path, name: str, content: bytes) -> None:
    """Write a file atomically: after a crash it is absent, old or complete."""
    temporary = folder / f".{name}.{secrets.token_hex(4)}"
    write_synced(temporary, content, 0o666)
    rename_synced(temporary, folder / name)
