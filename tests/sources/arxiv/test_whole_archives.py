"""A whole archive, such as math, is read like all its categories, by each interface of arXiv."""

from __future__ import annotations

import pytest

from tests.sources.arxiv import test_source
from tests.sources.arxiv.test_source import FRIDAY, MONDAY, THURSDAY, World, _record
from tests.support.emulator import Upstreams
from triage import store
from triage.domain.records import Verdict

pytestmark = test_source.pytestmark
world = test_source.world


def _days_of_archives(upstreams: Upstreams) -> None:
    """Announce papers of several archives on a Thursday, a Friday and a Monday."""
    upstreams.days = {on: [] for on in (THURSDAY, FRIDAY, MONDAY)}
    for n, on in enumerate((THURSDAY, FRIDAY, MONDAY)):
        upstreams.announce(
            _record(f"2506.2{n}001", on, categories=["math.AG"]),
            _record(f"2506.2{n}002", on, categories=["math.CO", "cs.DM"]),
            _record(f"2506.2{n}003", on, categories=["astro-ph.GA"]),
            _record(f"2506.2{n}004", on, categories=["cond-mat.soft", "math.PR"]),
            _record(f"2506.2{n}005", on, categories=["math-ph"]),
            _record(f"2506.2{n}006", on, categories=["cs.LG"]),
        )


@pytest.mark.parametrize(
    ("watched", "several", "numbers"),
    [
        (["math"], ["math.AG", "math.CO", "math.PR"], (1, 2, 4)),
        (["astro-ph"], ["astro-ph.GA", "astro-ph.CO"], (3,)),
        (["cond-mat"], ["cond-mat.soft"], (4,)),
        (["math", "cs.LG"], ["math.AG", "math.CO", "math.PR", "cs.LG"], (1, 2, 4, 6)),
        (["cs", "math-ph"], ["cs.DM", "cs.LG", "math-ph"], (2, 5, 6)),
    ],
)
def test_a_whole_archive_is_read_like_all_its_categories(
    world: World, watched: list[str], several: list[str], numbers: tuple[int, ...]
) -> None:
    _days_of_archives(world.upstreams)
    found = {}
    for categories in (several, watched):
        world.categories = categories
        with world.database.write() as conn:
            store.sources.save_cursor(conn, "arxiv", "", world.clock.now())
        world.upstreams.show(THURSDAY)
        world.fetch(THURSDAY)
        # Nothing is fetched on Friday, so the day comes by OAI-PMH.
        world.upstreams.show(MONDAY)
        world.fetch(MONDAY)
        found[tuple(categories)] = [
            (day.verdict, day.expected, day.got)
            for on in (THURSDAY, FRIDAY, MONDAY)
            for day in [world.day(on)]
        ]
    n = len(numbers)
    assert found[tuple(watched)] == found[tuple(several)] == [(Verdict.COMPLETE, n, n)] * 3
    assert world.stored() == {f"2506.2{day}00{number}" for day in range(3) for number in numbers}


def test_a_normal_day_counts_the_papers_of_a_whole_archive(world: World) -> None:
    _days_of_archives(world.upstreams)
    world.categories = ["math", "math.CO", "cs.LG"]
    world.upstreams.show(FRIDAY)
    world.fetch(FRIDAY)
    found = {name: (day.expected, day.got) for name, day in world.categories_of(FRIDAY).items()}
    assert found == {"": (4, 4), "math": (3, 3), "math.CO": (1, 1), "cs.LG": (1, 1)}
