"""What `docs/adding-a-source.md` shows works as it stands there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from textwrap import indent
from types import ModuleType, SimpleNamespace

import pytest

from tests.support import databases
from triage import settings
from triage.app import live_sources
from triage.app.application import open_app
from triage.app.installation import create_installation

# The source is found under its name; recorded answers lie beside the test.
CONFTEST = """
import importlib.util, sys
from pathlib import Path
from tests.support import fixtures

here = Path(__file__).parent
fixtures._recordings.folder = here / "data"
spec = importlib.util.spec_from_file_location("triage.sources.chemlist", here / "chemlist.py")
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
"""


@pytest.fixture(scope="module")
def shown(root: Path) -> dict[str, list[str]]:
    """Return the blocks of the page by their language, in order."""
    page = (root / "docs/adding-a-source.md").read_text("utf-8")
    blocks: dict[str, list[str]] = {}
    for language, content in re.findall(r"^```(\w+)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        blocks.setdefault(language, []).append(content)
    return blocks


def test_the_shown_source_passes_the_shown_tests_and_the_contract(
    shown: dict[str, list[str]], root: Path, tmp_path: Path
) -> None:
    source, test, *_ = shown["python"]
    (tmp_path / "data").mkdir()
    (tmp_path / "data/README.md").write_text(shown["markdown"][0])
    (tmp_path / "data/chemlist_2026-03-02.json").write_text(shown["json"][0])
    (tmp_path / "chemlist.py").write_text(source)
    (tmp_path / "test_chemlist.py").write_text(test)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
    ]
    command += ["--rootdir", str(tmp_path), "-c", str(root / "pyproject.toml"), str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    n_tests = len(re.findall(r"^def test_", test, re.MULTILINE))
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > n_tests, "the contract's tests ran, too"


def test_the_shown_code_is_formatted_and_without_faults(
    shown: dict[str, list[str]], root: Path
) -> None:
    ruff = [sys.executable, "-m", "ruff"]
    for code in shown["python"][:2]:
        for command in (["format", "--check"], ["check", "--quiet", "--ignore", "S101,I001"]):
            done = subprocess.run(
                [*ruff, *command, "--config", str(root / "pyproject.toml"), "-"],
                input=code,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def test_the_shown_settings_equal_the_shown_config(shown: dict[str, list[str]]) -> None:
    scope = dict(vars(settings))
    exec(shown["python"][2], scope)  # noqa: S102 - of this repository
    config = tomllib.loads(shown["toml"][0])["sources"]["chemlist"]
    assert scope["ChemListSettings"]().model_dump(mode="json") == config


def test_the_shown_composition_makes_the_source(
    shown: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("triage.sources.chemlist")
    sys.modules[module.__name__] = module
    try:
        exec(shown["python"][0], vars(module))  # noqa: S102
        database = databases.new_database(tmp_path)
        url = database.engine.url.render_as_string(hide_password=False)
        config, _ = create_installation(tmp_path, databases.config_naming(url))
        app = open_app(config)
        chemlist = SimpleNamespace(**tomllib.loads(shown["toml"][0])["sources"]["chemlist"])
        chemlist.enabled = True
        scope = vars(live_sources) | {
            "wanted": SimpleNamespace(chemlist=chemlist),
            "ChemList": vars(module)["ChemList"],
            "on": None,
            "now": datetime(2026, 3, 2, 12, tzinfo=UTC),
        }
        # What is shown yields, so it stands in a function.
        exec("def live():\n" + indent(shown["python"][3], "    "), scope)  # noqa: S102
        monkeypatch.setattr(app.live_sources, "_live", lambda *_: scope["live"]())  # type: ignore[operator]
        [source] = app.live_sources.sources()
        assert app.live_sources.days_behind() == {"chemlist": 0}
        assert app.live_sources.addresses() == {"chemlist": chemlist.url}
        assert (source.name, source.source._on) == ("chemlist", date(2026, 3, 2))
        app.close()
    finally:
        del sys.modules[module.__name__]


def test_the_shown_answer_is_json(shown: dict[str, list[str]]) -> None:
    assert json.loads(shown["json"][0])["total"] == 3
