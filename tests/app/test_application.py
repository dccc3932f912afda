"""The objects of one installation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import databases
from triage.app.application import create_installation, open_app


def test_closing_an_installation_closes_what_it_has_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = create_installation(tmp_path, databases.config_naming("sqlite:///triage.db"))
    app = open_app(config)
    closed: list[str] = []
    for name in ("live_sources", "database", "sent_log"):
        opened = getattr(app, name)
        monkeypatch.setattr(type(opened), "close", lambda each: closed.append(type(each).__name__))
    app.close()
    assert closed == ["LiveSources", "Database", "SentLog"]
