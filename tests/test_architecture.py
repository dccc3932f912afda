"""What the import contracts in pyproject.toml cannot say of themselves."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from tests.support.paths import ROOT
from triage.cli import COMMANDS

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = PYPROJECT["tool"]["importlinter"]["contracts"]

# Light, and without effects: every module may import these.
FREE = {"numpy", "scipy", "structlog"}


def imported_by_code() -> set[str]:
    roots: set[str] = set()
    for path in ROOT.glob("triage/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                roots |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                roots.add(node.module.partition(".")[0])
    return roots


def third_party() -> set[str]:
    return imported_by_code() - set(sys.stdlib_module_names) - {"triage"}


def test_every_imported_library_is_a_declared_dependency() -> None:
    project = PYPROJECT["project"]
    declared = {
        re.split(r"[^a-z0-9.-]", requirement)[0]
        for requirements in (project["dependencies"], *project["optional-dependencies"].values())
        for requirement in requirements
    }
    distributions = packages_distributions()
    undeclared = {
        name
        for name in third_party()
        if declared.isdisjoint(map(str.lower, distributions.get(name, ())))
    }
    assert undeclared == set()


def test_every_library_has_named_importers() -> None:
    named = {
        module
        for contract in CONTRACTS
        if contract["type"] == "protected"
        for module in contract["protected_modules"]
    }
    assert third_party() - FREE - named == set(), "add a protected contract to pyproject.toml"


ROOMS = """
    app cli delivery digest domain operations papers ranking sources store subscribers training web
""".split()


def test_the_top_level_holds_six_modules_and_the_rooms() -> None:
    modules = {path.stem for path in (ROOT / "triage").glob("*.py")}
    assert modules == {"__init__", "__main__", "clock", "errors", "resources", "settings"}
    folders = {path.parent for path in (ROOT / "triage").glob("*/**/*.py")}
    assert {path.relative_to(ROOT / "triage").parts[0] for path in folders} == set(ROOMS)
    for folder in folders:
        # The store has a module for each table, the command line one for each command.
        if folder.name not in {"store", "cli"}:
            assert len(list(folder.glob("*.py"))) <= 21, f"{folder} has more than twenty modules"


def test_every_room_says_what_it_is_for_what_goes_in_and_out_and_where_to_begin() -> None:
    for room in ROOMS:
        text = ast.get_docstring(ast.parse((ROOT / "triage" / room / "__init__.py").read_text()))
        assert text is not None
        assert all(word in text for word in ("In: ", "Out: ", "Begin with ")), room
        assert len(text.splitlines()) <= 15


def test_the_list_of_modules_is_complete() -> None:
    page = (ROOT / "docs" / "modules.md").read_text(encoding="utf-8")
    for room in ROOMS:
        _, _, section = page.partition(f"\n## {room}\n")
        section, _, _ = section.partition("\n## ")
        folder = ROOT / "triage" / room
        listed = set(re.findall(r"^\| `([\w/]+\.py)`(?:, `[\w/]+\.py`)* \|", section, re.MULTILINE))
        modules = {path.relative_to(folder).as_posix() for path in folder.glob("**/*.py")}
        if room == "cli":  # the modules of commands have the names of their commands
            modules = {name for name in modules if name.removesuffix(".py") not in COMMANDS}
        assert {name for name in modules if not name.endswith("__init__.py")} <= listed, room
        assert listed <= modules, room


def test_there_are_at_most_fifteen_import_contracts() -> None:
    assert len(CONTRACTS) <= 15
