"""Finds the data files of the package, and writes files that survive a power failure.

The data files are next to the package in a checkout, and inside it in a wheel.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from triage.errors import TriageError

_PACKAGE = Path(__file__).resolve().parent


def templates_dir() -> Path:
    """Return the folder that has `email/` and `web/`.

    Raises:
        TriageError: the installation is incomplete.
    """
    return _find("templates")


def migrations_dir() -> Path:
    """Return the folder that has the migration environment and `versions/`.

    Raises:
        TriageError: the installation is incomplete.
    """
    return _find("migrations")


def example_config() -> str:
    """Return the text of the config file in which every key has its default value.

    Raises:
        TriageError: the installation is incomplete.
    """
    return _find("config.example.toml").read_text("utf-8")


@cache
def _find(name: str) -> Path:
    # Inside first: next to an installed package are the folders of other packages.
    for path in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if path.exists():
            return path
    raise TriageError(f"{name} is missing from this installation. Install triage again.")


def write_synced(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file, and wait until it is on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def rename_synced(old: Path, new: Path) -> None:
    """Rename a file, replacing `new` if it exists, and wait until this is on the disk."""
    old.replace(new)
    sync(new.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
