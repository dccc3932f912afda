"""Find missing parts of an installation, when `triage init` runs again."""

from __future__ import annotations

import shlex
from contextlib import closing
from typing import TYPE_CHECKING

from triage.errors import DatabaseError
from triage.settings import SECRET_FILE, load_settings, read_secret
from triage.store import open_database

if TYPE_CHECKING:
    from pathlib import Path


def missing_parts(config: Path) -> list[str]:
    """Return which parts are missing besides the config and how to create them; change nothing.

    Raises:
        ConfigError: the config is wrong.
    """
    settings = load_settings(config)
    missing = []
    secret_file = settings.folder / SECRET_FILE
    if read_secret("SECRET_KEY") is None and not secret_file.exists():
        missing.append(
            f"{secret_file} is missing: restore it, because links in sent mail and models need it,"
            f" or create a new one with `(umask 077; openssl rand -base64 48 >"
            f" {shlex.quote(str(secret_file))})`"
        )
    upgrade = f"triage --config {shlex.quote(str(config))} db upgrade"
    file = settings.database_file
    if file is not None and not file.exists():
        missing.append(
            f"{file} is missing: restore a back-up, or create one with `(umask 077; {upgrade})`"
        )
        return missing
    try:
        with closing(open_database(settings.database_url)) as database:
            database.check_schema()
    except DatabaseError as error:
        missing.append(str(error).replace("triage db upgrade", upgrade))
    return missing
