"""The wheel alone is the whole program: it needs no checkout beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy
import pytest

from tests.support.paths import ROOT
from triage import __version__


@dataclass(frozen=True)
class Installation:
    """The wheel in an environment of its own.

    Attributes:
        folder: the environment.
        elsewhere: an empty folder outside the checkout to run in.
    """

    folder: Path
    elsewhere: Path

    def run(self, *command: str) -> str:
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
        }
        done = subprocess.run(
            [self.folder / "bin" / command[0], *command[1:]],
            cwd=self.elsewhere,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Built from a copy, because the builder leaves files behind and tests run beside each other.
    source = tmp_path_factory.mktemp("source") / "triage"
    shutil.copytree(
        ROOT,
        source,
        ignore=shutil.ignore_patterns(
            *(
                ".*cache",
                ".git",
                ".hypothesis",
                ".venv*",
                "__pycache__",
                "dist",
                "docs",
                "tests",
                "var",
            )
        ),
    )
    out = tmp_path_factory.mktemp("wheel")
    # Without `--wheel` the wheel is built from the source distribution, which is thus proven, too.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    command = [
        *(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"),
        *("--python", str(folder), "install", "--no-deps", "--no-index", "--no-compile"),
        str(wheel),
    ]
    subprocess.run(command, check=True, capture_output=True)
    # The libraries come from the environment of the tests; a folder named in a .pth file is put on
    # the path without reading the .pth files in it, so the checkout's own installation stays out.
    [packages] = folder.glob("lib/python*/site-packages")
    libraries = Path(numpy.__file__).parents[1]
    (packages / "libraries.pth").write_text(f"{libraries}\n", encoding="utf-8")
    return Installation(folder, tmp_path_factory.mktemp("elsewhere"))


def shipped(folder: str, pattern: str = "**/*") -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).glob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_code_templates_migrations_and_the_example(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    data = shipped("templates") | shipped("migrations") | {"config.example.toml"}
    assert names == shipped("triage") | {f"triage/_data/{name}" for name in data}


def test_the_wheel_names_its_license_and_its_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    [entry_points] = [name for name in archive.namelist() if name.endswith("/entry_points.txt")]
    assert "triage = triage.cli:main" in archive.read(entry_points).decode()
    assert any(name.endswith("/licenses/LICENSE") for name in archive.namelist())


def test_the_installed_package_is_the_wheels(installed: Installation) -> None:
    where = installed.run("python", "-c", "import triage; print(triage.__file__)")
    assert Path(where.strip()).is_relative_to(installed.folder)


def test_the_installed_command_tells_its_version(installed: Installation) -> None:
    assert __version__ in installed.run("triage", "--version")


def test_the_installed_demo_runs_in_any_folder(installed: Installation) -> None:
    installed.run("triage", "demo")
    mails = list((installed.elsewhere / "var" / "demo").glob("**/*.eml"))
    assert len(mails) >= 6
