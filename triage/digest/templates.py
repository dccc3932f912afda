"""The Jinja environment of mails, pages and reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from triage.resources import templates_dir

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(folder: str = "", *, autoescape: bool = True, **options: Any) -> Environment:
    """Return a Jinja environment for one folder of the templates.

    Undefined names are errors. `options` are those of Jinja.

    Raises:
        TriageError: the installation is incomplete.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(templates_dir() / folder),
        autoescape=autoescape,  # noqa: S701 - only text/plain is not escaped
        undefined=StrictUndefined,
        **{"trim_blocks": True, "lstrip_blocks": True} | options,
    )
