"""What must never come into the repository, checked on every file that git knows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from triage.store.tables import metadata

CODE = sorted([*ROOT.glob("triage/**/*.py"), *ROOT.glob("migrations/**/*.py")])
PYTHON = sorted([*CODE, *ROOT.glob("tests/**/*.py"), *ROOT.glob("benchmarks/**/*.py")])
REQUIREMENTS = sorted(ROOT.glob("requirements/*.txt"))

# Put together here, so that this file does not hold what it looks for.
INDEX_HOSTS = [
    "pypi." + "org",
    "files." + "pythonhosted",
    "pypi" + ".python",
    "/sim" + "ple/",
    "--index" + "-url",
    "extra" + "-index",
    "find" + "-links",
]
MACHINE_PATHS = re.compile(
    r"(?<![\w.:/@-])/(?:" + "|".join(("home", "Users", "work", "root")) + r")/\w"
)
SERIALISERS_THAT_RUN_CODE = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
EMPTY_NAMES = {"utils", "helpers", "common", "models", "services", "core", "manager"}
# Old names of rooms, modules, classes, functions and tables, each with a plain successor.
OLD_NAMES = frozenset(
    """
    apartness chores clearance courier damped desk doubts encoderstate enrolment grounds hindsight
    homes kept killpoint kinship likeness modelfile paces pastdays postfixlog rivals shelf tastes
    taste turnstile typeset wish model_store
    """.split()
)
CLOCK_CALLS = {
    ("datetime", "now"),
    ("datetime", "today"),
    ("datetime", "utcnow"),
    ("date", "today"),
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "sleep"),
    ("time", "localtime"),
    ("time", "gmtime"),
}
SQL_CALLS = {
    "exec_driver_sql",
    "execute",
    "executemany",
    "executescript",
    "scalar",
    "scalars",
    "text",
}
HEAVY = {
    "alembic",
    "css_inline",
    "jinja2",
    "lightgbm",
    "numpy",
    "pydantic",
    "pylatexenc",
    "scipy",
    "sklearn",
    "sqlalchemy",
    "starlette",
    "uvicorn",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def where(path: Path, node: ast.AST) -> str:
    return f"{name_of(path)}:{getattr(node, 'lineno', 0)}"


@pytest.fixture(scope="module")
def nodes() -> dict[Path, list[ast.AST]]:
    """Return what each module of the program is made of."""
    return {
        path: list(ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))))
        for path in CODE
    }


def tracked_texts() -> Iterator[tuple[Path, str]]:
    """Yield the text files that git tracks or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, listing.split("\0")):
        path = ROOT / name
        if not path.is_file():
            continue
        content = path.read_bytes()
        if b"\0" not in content[:8192]:
            yield path, content.decode("utf-8", errors="replace")


def test_no_module_is_past_500_lines() -> None:
    # The tests of one module stay in one file, which may be a little longer. So does the first
    # schema, which alembic takes whole.
    longer = (ROOT / "tests", ROOT / "migrations")
    n_lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PYTHON}
    most = {path: 800 if any(map(path.is_relative_to, longer)) else 500 for path in PYTHON}
    too_long = {name_of(path): n for path, n in n_lines.items() if n > most[path]}
    assert too_long == {}, "split by noun"


def test_no_module_has_a_name_that_says_nothing() -> None:
    names = [name_of(path) for path in PYTHON]
    assert [name for name in names if EMPTY_NAMES & set(re.split(r"[/.]", name))] == []


def test_no_definition_or_table_bears_an_old_name() -> None:
    found = []
    for path in ROOT.glob("triage/**/*.py"):
        found += [(name_of(path), part) for part in path.relative_to(ROOT).with_suffix("").parts]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.append((where(path, node), node.name))
    found += [("a table", table) for table in metadata.tables]
    words = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
    old = [
        f"{at}: {name}"
        for at, name in found
        if not OLD_NAMES.isdisjoint(word.lower() for word in words.findall(name))
    ]
    assert old == []


def test_no_file_names_a_package_index() -> None:
    # The Makefile alone names an option of the tool that locks: the one that leaves indexes out.
    allowed = {("Makefile", "--no-emit-" + "index-url")}
    found = []
    for path, text in tracked_texts():
        for name, option in allowed:
            if name_of(path) == name:
                text = text.replace(option, "")
        found += [f"{name_of(path)}: {host}" for host in INDEX_HOSTS if host in text]
    assert found == []


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    found = [
        f"{name_of(path)}: {match.group()}"
        for path, text in tracked_texts()
        for match in MACHINE_PATHS.finditer(text)
    ]
    assert found == []


def test_there_is_no_lock_that_records_addresses() -> None:
    assert [*ROOT.glob("uv.lock"), *ROOT.glob("pylock*.toml"), *ROOT.glob("poetry.lock")] == []


def pins(path: Path) -> dict[str, str]:
    """Return `{name; marker: version}`, checking that each pin has hashes and nothing else."""
    found = {}
    for block in path.read_text(encoding="utf-8").replace(" \\\n", " ").splitlines():
        requirement = re.fullmatch(
            r"(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?P<marker> ; [^\\]*?)?"
            r"(?P<hashes>(?:\s+--hash=sha256:[0-9a-f]{64})+)",
            block,
        )
        assert requirement, f"{name_of(path)} has a line that is not a pin with hashes: {block}"
        found[requirement["name"] + (requirement["marker"] or "")] = requirement["version"]
    return found


@pytest.mark.parametrize("path", REQUIREMENTS, ids=name_of)
def test_every_requirement_is_pinned_with_hashes(path: Path) -> None:
    assert pins(path)


def test_development_runs_what_is_installed_for_readers() -> None:
    # A marker may be wider where more asks for the package.
    core, build, dev = (
        {(name.partition(" ;")[0], version) for name, version in pins(path).items()}
        for path in (ROOT / f"requirements/{name}.txt" for name in ("core", "build", "dev"))
    )
    assert core <= dev
    assert build <= dev


def test_nothing_is_loaded_that_could_run_code(nodes: dict[Path, list[ast.AST]]) -> None:
    found = []
    for path in CODE:
        for node in nodes[path]:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            loaded = {name.partition(".")[0] for name in names}
            found += [where(path, node)] * bool(loaded & SERIALISERS_THAT_RUN_CODE)
    assert found == []


def test_only_the_clock_knows_what_time_it_is(nodes: dict[Path, list[ast.AST]]) -> None:
    calls = [
        where(path, node)
        for path in CODE
        if path.stem != "clock"
        for node in nodes[path]
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name | ast.Attribute)
        and (getattr(node.value, "id", getattr(node.value, "attr", "")), node.attr) in CLOCK_CALLS
    ]
    assert calls == [], "take the Clock port instead"


def is_built(node: ast.AST) -> bool:
    """Tell whether an expression puts a string together from parts that are not all literal."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        parts = list(ast.walk(node))
        texts = [part for part in parts if isinstance(getattr(part, "value", None), str)]
        return bool(texts) and any(isinstance(part, ast.Name | ast.Call) for part in parts)
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"format", "format_map", "join", "replace"}
    )


def built_statements(tree: Iterable[ast.AST]) -> list[ast.Call]:
    return [
        node
        for node in tree
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in SQL_CALLS
        and node.args
        and is_built(node.args[0])
    ]


def test_no_statement_is_put_together_from_strings(nodes: dict[Path, list[ast.AST]]) -> None:
    found = [where(path, call) for path in CODE for call in built_statements(nodes[path])]
    assert found == [], "bind parameters, or write the statement out"


@pytest.mark.parametrize(
    ("source", "n_found"),
    [
        ('connection.execute(text(f"DELETE FROM {table}"))', 1),
        ('connection.execute(text("DELETE FROM %s" % table))', 1),
        ('connection.execute(text("DELETE FROM " + table))', 1),
        ('connection.exec_driver_sql("DELETE FROM {}".format(table))', 1),
        ('connection.execute(text("DELETE FROM papers"))', 0),
        ('connection.execute(text("SELECT 1 " "FROM papers"))', 0),
        ("connection.execute(select(papers).where(papers.c.id == n + 1))", 0),
    ],
)
def test_the_guard_knows_a_built_statement(source: str, n_found: int) -> None:
    assert len(built_statements(ast.walk(ast.parse(source)))) == n_found


def test_help_loads_no_heavy_library() -> None:
    script = (
        "import sys\n"
        "from triage.cli import main\n"
        "sys.argv = ['triage', '--help']\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print(*sorted(name for name in sys.modules if '.' not in name), file=sys.stderr)\n"
    )
    help_ = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    assert "Usage:" in help_.stdout
    assert set(help_.stderr.split()) & HEAVY == set()
