"""arXiv's categories: the table, whole archives, and names that are nearly right."""

from __future__ import annotations

import pytest

from triage.domain.arxiv_categories import ARCHIVES, CATEGORIES, check, check_chosen, watched
from triage.errors import ConfigError


def test_the_table_has_all_categories_of_arxiv_once() -> None:
    assert len(CATEGORIES) == len(set(CATEGORIES)) == 155
    assert len(ARCHIVES) == 20
    assert {"cs.LG", "math.AG", "astro-ph.CO", "cond-mat.mtrl-sci", "hep-th", "stat.ML"} <= {
        *CATEGORIES
    }
    assert not {"cs", "math", "physics"} & {*CATEGORIES}


@pytest.mark.parametrize(
    ("chosen", "categories", "expected"),
    [
        (("math",), ("math.AG", "math.CO"), ("math",)),
        (("math",), ("math-ph", "hep-th"), ()),
        (("math", "math.AG"), ("math.AG",), ("math", "math.AG")),
        (("math.CO",), ("math.AG",), ()),
        (("cs",), ("stat.ML", "cs.LG"), ("cs",)),
        # A category that is newer than the table.
        (("cs",), ("cs.QQ",), ("cs",)),
        (("astro-ph", "gr-qc"), ("astro-ph",), ("astro-ph",)),
        (("physics",), ("physics.optics",), ("physics",)),
        (("neuroscience",), ("neuroscience",), ("neuroscience",)),
        (("q-bio",), ("neuroscience", "q-bio.NC"), ("q-bio",)),
        ((), ("cs.LG",), ()),
        (("cs.LG",), (), ()),
    ],
)
def test_a_whole_archive_is_all_its_categories(
    chosen: tuple[str, ...], categories: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert watched(chosen, categories) == expected


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("cs.LG", "cs.LG"),
        ("cs.lg", "cs.LG"),
        ("MATH.ag", "math.AG"),
        ("Math", "math"),
        ("HEP-TH", "hep-th"),
        ("cond-mat.Soft", "cond-mat.soft"),
    ],
)
def test_case_is_as_arxiv_writes_it(name: str, spelled: str) -> None:
    assert check(name) == spelled
    check_chosen([spelled], "config")
    if name != spelled:
        with pytest.raises(ConfigError, match=f"config: .*did you mean {spelled}"):
            check_chosen(["cs.CL", name], "config")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("cs.XX", "cs.S"),
        ("cs.LC", "mean cs.CL, cs.LO, cs.LG"),
        ("math.LA", "mean math.LO"),
        ("csCL", "mean cs.CL"),
        ("cs:lg", "mean cs.LG"),
        ("hepth", "mean hep-th"),
        ("cs.ML", "stat.ML"),
        ("maht.AG", "math.AG"),
        ("hep-thh", "hep-th"),
        ("physics.optic", "physics.optics"),
        ("cond-mat.softt", "cond-mat.soft"),
        ("q-bio.", "q-bio"),
        ("zz.QQ", "cs.CL"),
    ],
)
def test_a_name_that_is_nearly_one_of_arxiv_is_refused_with_the_nearest(
    name: str, near: str
) -> None:
    for refuse in (check, lambda name: check_chosen([name], "config")):
        with pytest.raises(ConfigError, match="arXiv") as refused:
            refuse(name)
        assert near in str(refused.value)


@pytest.mark.parametrize(
    "name", ["neuroscience", "biophysics", "genomics", "epidemiology", "node.js", "preprint"]
)
def test_categories_of_other_sources_stay_possible(name: str) -> None:
    assert check(name) == name
    with pytest.raises(ConfigError):
        check_chosen([name], "config")
