"""Creates an installation: its folder with secret, config and database."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from triage.app.application import open_app
from triage.errors import ConfigError
from triage.settings import SECRET_FILE

CONFIG_NAME = "triage.toml"


def create_installation(folder: Path, example: str) -> tuple[Path, bool]:
    """Write the secret and the config, and create the database; do nothing if there is a config.

    Args:
        example: the text of the config file to write.

    Returns:
        The path of the config file, and whether it was written now.

    Raises:
        ConfigError: the folder cannot be written.
    """
    from triage.delivery.sent_log_check import check_sent_log
    from triage.store.migrate import upgrade

    config = folder / CONFIG_NAME
    if config.exists():
        return config, False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / SECRET_FILE).exists():
            _write_private(folder / SECRET_FILE, secrets.token_urlsafe(48) + "\n")
        # The config is written last, so that after an interruption the next call continues.
        _write_private(config, example)
    except OSError as error:
        raise ConfigError(
            f"cannot write to {folder}: {error.strerror}; check its permissions"
        ) from error
    app = open_app(config)
    if app.settings.database_file is not None:
        # The database contains addresses. SQLite gives its other files the mode of the database.
        app.settings.database_file.touch(mode=0o600)
    upgrade(app.unchecked_database)
    # This links the database and the sent log, so that the loss of either is detected.
    check_sent_log(app.database, app.sent_log, app.clock)
    app.close()
    return config, True


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
