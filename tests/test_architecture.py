"""What the import contracts in pyproject.toml cannot say of themselves."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from tests.support.paths import ROOT

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
