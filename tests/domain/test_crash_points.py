"""The places at which a test may kill the program."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.crash_places import POINTS
from triage.domain.crash_points import crash_point

PROGRAM = """
from triage.domain.crash_points import crash_point
for n in range(3):
    crash_point("claimed")
    crash_point("settled")
    print(n, flush=True)
"""


def run(kill_at: str, root: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TRIAGE_KILL_AT": kill_at}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("kill_at", "printed"), [("claimed:1", ""), ("settled:1", ""), ("claimed:3", "0\n1\n")]
)
def test_the_program_dies_at_the_nth_passing(kill_at: str, printed: str, root: Path) -> None:
    ended = run(kill_at, root)
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == printed


@pytest.mark.parametrize("kill_at", ["claimed:4", "drained:1", "nonsense", ""])
def test_elsewhere_it_goes_on(kill_at: str, root: Path) -> None:
    ended = run(kill_at, root)
    assert (ended.returncode, ended.stdout) == (0, "0\n1\n2\n")


def test_without_being_told_nobody_dies() -> None:
    for point in POINTS:
        crash_point(point)


def test_every_place_is_passed_by_somewhere_and_has_its_name_in_the_list(root: Path) -> None:
    passed = set()
    for path in (root / "triage").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "crash_point"
                and isinstance(node.args[0], ast.Constant)
            ):
                passed.add(node.args[0].value)
    assert passed == set(POINTS)
