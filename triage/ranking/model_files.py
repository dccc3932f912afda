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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from triage.errors import ModelError
from triage.resources import rename_synced, write_synced

MANIFEST = "manifest.json"
_OPEN, _MIDDLE, _CLOSE = b'{"mac":"', b'","manifest":', b"}\n"
_MAC_LENGTH = 64
_MAX_MANIFEST_BYTES = 4_000_000


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


def check_trees(text: str, features: Sequence[str]) -> None:
    """Check that a LightGBM text model is complete before the C++ parser reads it.

    The parser trusts lengths and child numbers, so a truncated or crafted text can crash the
    process instead of raising an error.

    Raises:
        ModelError: the header or a tree is not consistent.
    """
    head, *trees = text.split("\nTree=")
    header = _fields(head)
    if not text.startswith("tree\n") or header.get("feature_names", "").split() != list(features):
        raise ModelError("the trees are not a ranking model for this program's features")
    sizes = _numbers(header.get("tree_sizes", ""))
    if len(sizes) != len(trees):
        raise ModelError(f"the model should have {len(sizes)} trees but has {len(trees)}")
    start = text.find("\nTree=") + 1
    end = text.find("\nend of trees")
    if end < 0 or (trees and start + sum(sizes) > end + 1):
        raise ModelError("the trees are shorter or longer than the model's header says")
    for number, tree in enumerate(trees):
        _check_tree(number, _fields(tree.split("\nend of trees")[0]), len(features))


def _check_tree(number: int, tree: dict[str, str], n_features: int) -> None:
    (n_leaves,) = _numbers(tree.get("num_leaves", "")) or [0]
    if n_leaves < 1 or tree.get("num_cat", "0") != "0":
        raise ModelError(f"tree {number} has no leaves, or a split on categories")
    n_nodes = n_leaves - 1
    if n_nodes == 0:
        return
    columns = {name: _numbers(tree.get(name, "")) for name in ("split_feature", "decision_type")}
    left, right = (_numbers(tree.get(side, "")) for side in ("left_child", "right_child"))
    lengths = {len(values) for values in (*columns.values(), left, right)}
    lengths.add(len(tree.get("threshold", "").split()))
    if lengths != {n_nodes} or len(tree.get("leaf_value", "").split()) != n_leaves:
        raise ModelError(f"tree {number} has arrays of the wrong length")
    # Each node except the root, and each leaf, is the child of exactly one node: no cycles.
    children = sorted(left + right)
    if children != [*range(-n_leaves, 0), *range(1, n_nodes)] or any(
        child > 0 and child <= node for side in (left, right) for node, child in enumerate(side)
    ):
        raise ModelError(f"tree {number} is not a tree")
    if any(not 0 <= feature < n_features for feature in columns["split_feature"]):
        raise ModelError(f"tree {number} splits on a feature that does not exist")


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split()]
    except ValueError as error:
        raise ModelError("the trees have a word in place of a number") from error


_ADVICE = "restore the folder from a backup or train again"


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
