"""Lists of authors that are one text, as feeds, libraries and files have them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.author_names import split_names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        (" , ", []),
        ("Ada Lovelace", ["Ada Lovelace"]),
        ("Ada Lovelace, C. Doe", ["Ada Lovelace", "C. Doe"]),
        ("A. Smith, J. Li", ["A. Smith", "J. Li"]),
        ("Lovelace, Ada", ["Lovelace, Ada"]),
        ("Lovelace, A. K.", ["Lovelace, A. K."]),
        ("García Márquez, Gabriel", ["García Márquez, Gabriel"]),
        ("van der Waals, Johannes Diderik", ["van der Waals, Johannes Diderik"]),
        ("King, M. L., Jr., Wid, M.", ["King, M. L., Jr.", "Wid, M."]),
        ("Martin L. King, Jr., Ada Lovelace", ["Martin L. King, Jr.", "Ada Lovelace"]),
        ("Sandy Anderson", ["Sandy Anderson"]),
        # HighWire
        ("Vavilova, C. D., Hertz, C. M., Wid, M.", ["Vavilova, C. D.", "Hertz, C. M.", "Wid, M."]),
        ("Müller, J.-P., Øst, Å.", ["Müller, J.-P.", "Øst, Å."]),
        ("Lovelace, Ada, Babbage, Charles", ["Lovelace, Ada", "Babbage, Charles"]),
        # One after the other
        ("Ada Lovelace,Charles Babbage", ["Ada Lovelace", "Charles Babbage"]),
        ("Smith J, Doe AB", ["Smith J", "Doe AB"]),
        ("Plato, Aristotle, Zeno", ["Plato", "Aristotle", "Zeno"]),
        ("李明、王芳", ["李明", "王芳"]),
        ("Lovelace, Ada; Babbage, Charles;", ["Lovelace, Ada", "Babbage, Charles"]),
        ("A; B", ["A", "B"]),
        ("A, B and C", ["A", "B", "C"]),
        ("Ada Lovelace & Charles Babbage", ["Ada Lovelace", "Charles Babbage"]),
        ("Lovelace, Ada and Babbage, Charles", ["Lovelace, Ada", "Babbage, Charles"]),
        ("Lovelace, A., and Babbage, C.", ["Lovelace, A.", "Babbage, C."]),
        ("Lovelace and Babbage", ["Lovelace", "Babbage"]),
        # Groups
        ("CMS Collaboration", ["CMS Collaboration"]),
        ("for the ATLAS Collaboration", ["for the ATLAS Collaboration"]),
        ("the CMS and ATLAS Collaborations", ["the CMS and ATLAS Collaborations"]),
        ("Lovelace, Ada and CMS Collaboration", ["Lovelace, Ada", "CMS Collaboration"]),
        ("Wid, M., Hertz, C., CMS Collaboration", ["Wid, M.", "Hertz, C.", "CMS Collaboration"]),
        ("X. Ai, the XENON Collaboration", ["X. Ai", "the XENON Collaboration"]),
        ("M. Curie et al. (CMS Collaboration)", ["M. Curie", "CMS Collaboration"]),
        (
            "Centers for Disease Control and Prevention",
            ["Centers for Disease Control and Prevention"],
        ),
        # No names
        ("Ada Lovelace, Charles Babbage, et al.", ["Ada Lovelace", "Charles Babbage"]),
        ("Lovelace, A., Babbage, C. and others", ["Lovelace, A.", "Babbage, C."]),
        ("Ada Lovelace, Ph.D., Bob Ray, MD", ["Ada Lovelace", "Bob Ray"]),
    ],
)
def test_a_list_of_authors_is_split_into_names(text: str, names: list[str]) -> None:
    assert split_names(text) == names


@given(st.text())
def test_any_text_gives_names_and_no_empty_ones(text: str) -> None:
    assert all(name == name.strip() and name for name in split_names(text))
