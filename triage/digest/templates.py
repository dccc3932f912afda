"""The Jinja environment of mails, pages and reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from triage.resources import templates_dir

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(folder: str = "", *, autoescape: bool = True, **options: Any) -> Environment:
    """Return a Jinja environment for one folder of the templates.

    A name that is not defined is an error, and HTML is escaped unless `autoescape` is False.
    `options` are Jinja's.

    Raises:
        TriageError: the installation is incomplete.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(templates_dir() / folder),
        autoescape=autoescape,  # noqa: S701 - text/plain has no markup to escape into
        undefined=StrictUndefined,
        **{"trim_blocks": True, "lstrip_blocks": True} | options,
    )
