"""Find the files that are not Python: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

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
