"""Find the files that are not Python, and write files that survive a power cut.

The package's own files lie beside it in a checkout and inside it in a wheel.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from triage.errors import TriageError

_PACKAGE = Path(__file__).resolve().parent
_INCOMPLETE = "{} is missing from this installation. Install triage again."


def templates_dir() -> Path:
    """Return the folder that holds `email/` and `web/`.

    Raises:
        TriageError: the installation is incomplete.
    """
    return _find("templates")


def write_synced(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file and wait until the disk has it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def rename_synced(old: Path, new: Path) -> None:
    """Give a file another name, at which one that is there goes, and wait for the disk."""
    old.replace(new)
    sync(new.parent)


def sync(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def migrations_dir() -> Path:
    """Return the folder that holds the migration environment and `versions/`.

    Raises:
        TriageError: the installation is incomplete.
    """
    return _find("migrations")


def example_config() -> str:
    """Return the text of the config file in which every key stands at its default."""
    for folder in (_PACKAGE / "_data", _PACKAGE.parent):
        path = folder / "config.example.toml"
        if path.is_file():
            return path.read_text("utf-8")
    raise TriageError(_INCOMPLETE.format("config.example.toml"))


@cache
def _find(name: str) -> Path:
    # The packaged copy comes first: beside an installed package lie other packages' folders.
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise TriageError(_INCOMPLETE.format(name))
