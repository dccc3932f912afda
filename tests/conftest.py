"""What every test may rely on: one thread, no settings from outside, the checkout's root."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

# Set before numpy, scikit-learn or LightGBM load: pytest already runs one worker per core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from hypothesis import settings

from tests.support import databases, fixtures, guarantees
from triage.ranking.encoder import text_encoder

MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes a folder of its own in it

# A busy machine is slow, not wrong. The same examples each time, unless --full asks for new ones.
settings.register_profile("triage", deadline=None, print_blob=True, derandomize=True)
settings.register_profile("full", deadline=None, print_blob=True)
settings.load_profile("triage")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the long forms of tests")
    parser.addoption(
        "--live", action="store_true", help="ask the real servers what recorded answers hold"
    )
    parser.addoption("--record", action="store_true", help="with --live: keep what they say now")
    parser.addoption(
        "--database",
        choices=databases.KINDS,
        default=databases.KINDS[0],
        help="what the tests store in; of PostgreSQL they start a server of their own",
    )


@pytest.hookimpl(tryfirst=True)  # before the network is shut
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "sqlite(why): a test that is about SQLite, or its files")
    config.addinivalue_line(
        "markers", "any_database(why): a test that stores as others do, which run on PostgreSQL"
    )
    config.addinivalue_line("markers", "guarantee(name): it shows a promise of reliability")
    if config.getoption("--full"):
        settings.load_profile("full")
    databases.choose(config.getoption("--database"))
    # A second thread in each of the workers would wait for the others' and take their cores.
    text_encoder.BLAS_THREADS = 1
    if not config.getoption("--full") and _holds_temporary_files(MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    fixtures.choose(config)
    for name in [name for name in os.environ if name.startswith("TRIAGE_")]:
        del os.environ[name]


def _holds_temporary_files(folder: Path) -> bool:
    """Tell whether a folder has room for all files of the tests, and lets the programs there run.

    In memory nobody waits for a disk. The long forms do, as they measure it.
    """
    if not folder.is_dir():
        return False
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize > 4e9 and not found.f_flag & os.ST_NOEXEC


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out on PostgreSQL what would show there only what others show."""
    alike = [item for item in items if item.get_closest_marker("any_database")]
    if databases.on_postgres() and alike:
        items[:] = [item for item in items if not item.get_closest_marker("any_database")]
        config.hook.pytest_deselected(items=alike)


def pytest_runtest_setup(item: pytest.Item) -> None:
    marker = item.get_closest_marker("sqlite")
    if marker is not None and databases.on_postgres():
        pytest.skip(f"about SQLite alone: {marker.args[0]}")


@pytest.fixture
def guarantee(request: pytest.FixtureRequest) -> guarantees.Guarantee:
    """Return what takes the figures of the guarantee that the test's marker names."""
    marker = request.node.get_closest_marker("guarantee")
    assert marker is not None, "mark the test with the guarantee that it shows"
    return guarantees.Guarantee(marker.args[0], request.config.getoption("--full"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport]:
    report = yield
    figures = item.funcargs.get("guarantee") if hasattr(item, "funcargs") else None
    if report.when == "call" and isinstance(figures, guarantees.Guarantee):
        figures.write(passed=report.passed)
    return report


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    databases.end_of_test()


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the checkout's top folder."""
    return Path(__file__).resolve().parents[1]
