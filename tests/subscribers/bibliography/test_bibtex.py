"""BibTeX as people's programs write it, and as nobody should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.plain_text import one_line
from triage.sources.text.cleaning import clean
from triage.subscribers.bibliography import bibtex
from triage.subscribers.bibliography.bibtex import BibtexEntry, names, plain, verbatim


def only(text: str) -> BibtexEntry:
    (entry,) = bibtex.read(text)
    return entry


def test_an_entry_has_a_kind_a_key_a_line_and_fields() -> None:
    entry = only(
        '\n@Article{smith2020,\n  Title = {One {Two}},\n  year = 2020, note = "a {"} b",\n}'
    )
    assert (entry.kind, entry.key, entry.line) == ("article", "smith2020", 2)
    assert entry.fields == {"title": "One {Two}", "year": "2020", "note": 'a {"} b'}


def test_parentheses_may_enclose_an_entry() -> None:
    assert only("@misc(key, title = {A (b) c})").fields == {"title": "A (b) c"}


def test_macros_are_put_in_and_values_are_joined() -> None:
    text = '@string{cacm = "Communications"}\n@a{k, journal = cacm # " of the " # {ACM}, month=jan}'
    assert only(text).fields == {"journal": "Communications of the ACM", "month": "jan"}


def test_comments_and_preambles_are_no_entries() -> None:
    text = (
        "@comment{jabref-meta: @no{x}}\n@preamble{ {\\newcommand{\\a}{b}} }\n"
        "% @misc{old, title={Gone}}\nme@example.org {said}\n@misc{k, title={Here}}"
    )
    assert [entry.fields for entry in bibtex.read(text)] == [{"title": "Here"}]


def test_entries_on_one_line_are_told_apart() -> None:
    assert [e.key for e in bibtex.read("@a{x, title={X}} @b{y, title={Y}}@c{z,}")] == [
        "x",
        "y",
        "z",
    ]


def test_of_a_field_given_twice_the_first_counts() -> None:
    assert only("@a{k, doi={1}, doi={2}}").fields == {"doi": "1"}


def test_an_entry_without_a_key_keeps_its_fields() -> None:
    assert only("@misc{title = {Nameless}, year = 2020}").fields["title"] == "Nameless"


@pytest.mark.parametrize(
    "broken",
    [
        "@a{one, title = {Never closed,\n  eprint = {1706.03762},\n  year = {2017}\n}\n",
        "@a{one, title = {Closed},\n  eprint = {1706.03762}\n\n",
        '@a{one, title = "Never closed,\n  eprint = {1706.03762},\n}\n',
        "@a{one, title = {Closed too late,\n  eprint = {1706.03762},\n}\n}\n",
        "@a{one, title = {No comma}\n  eprint = {1706.03762}\n}\n",
    ],
)
def test_what_one_entry_breaks_hurts_no_other(broken: str) -> None:
    first, second = bibtex.read(broken + "@b{two,\n title={Second}}\n")
    assert first.fields["eprint"] == "1706.03762"
    assert (second.key, second.fields) == ("two", {"title": "Second"})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"G{\"o}del, Erd\H{o}s and \v{S}\'{\i}ma", "Gödel, Erdős and Šíma"),
        (
            r"Fran{\c c}ois, \r{A}ngstr{\"{o}}m, {\ss}, {\O}re, \L{}ukasz",
            "François, Ångström, ß, Øre, Łukasz",
        ),
        (
            r"\emph{Deep} \textbf{nets} \& 50\% of \$5 -- {AI}~now",
            "Deep nets & 50% of $5 – AI now",
        ),
        (r"$O(n^2)$ of a\_b \{c\}", "O(n²) of a_b {c}"),
        ("  two\n   lines ", "two lines"),
        ("", ""),
    ],
)
def test_tex_becomes_what_people_read(written: str, read: str) -> None:
    assert plain(written) == read


def test_addresses_keep_what_belongs_to_them() -> None:
    assert verbatim(r"\url{https://x.org/~a\_b\%20c}") == "https://x.org/~a_b%20c"
    assert verbatim(r"https://x.org/$\sim$ada/{\_}p") == "https://x.org/~ada/_p"


def test_names_are_turned_and_those_of_groups_are_kept_whole() -> None:
    value = r"Lovelace, Ada and {Research and Co, Inc} and Charles Babbage and others"
    assert names(value) == ("Ada Lovelace", "Research and Co, Inc", "Charles Babbage")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("{The CMS Collaboration} and Curie, M.", ("The CMS Collaboration", "M. Curie")),
        ("van Beethoven, Ludwig", ("Ludwig van Beethoven",)),
        ("King, Jr., Martin Luther", ("Martin Luther King Jr.",)),
        ("Charles Louis Xavier Joseph de la Vall{\\'e}e Poussin",
         ("Charles Louis Xavier Joseph de la Vallée Poussin",)),
        ("Ada\n  and\tBen And Carl", ("Ada", "Ben", "Carl")),
        ("Ada and others", ("Ada",)),
        ("{\\\"O}zg{\\\"u}r, A.", ("A. Özgür",)),
        ("", ()),
    ],
)  # fmt: skip
def test_names_have_the_forms_of_bibtex(written: str, read: tuple[str, ...]) -> None:
    assert names(written) == read


@pytest.mark.parametrize(
    "written",
    [
        "@a{k, title={T}, % read it again, soon = {x}\n eprint={1}\n}",
        "@a{k,\n  % title = {Old},\n  %eprint = {0},\n  title={T},\n  eprint={1},\n}",
        "@a{k, % the key\n title={T}\n ,eprint={1} % the end\n}",
        "@a{k, title={T},\n @location = {Basement},\n eprint={1}\n}",
        "@a{k, title={T}, note={mail ada@example.org and @home {now}}, eprint={1}}",
        "@a{k, title={T}, note={\n@home and\n@foo{bar} more\n}, eprint={1}}",
        "@a{k, title={T}, title={U}, eprint={1}, eprint={2}}",
        "@ a {k,\n TITLE = {T} , Eprint\n=\n{1}\n}",
        "\\begin{filecontents}{x.bib}\n@a{k, title={T}, eprint={1}}\n\\end{filecontents}\n",
        "@comment{\n@a{k, title={T}, eprint={1}}\n}",
    ],
)
def test_remarks_and_words_with_at_are_no_fields(written: str) -> None:
    entry = only(written)
    assert (entry.key, entry.fields["title"], entry.fields["eprint"]) == ("k", "T", "1")


def test_an_entry_that_is_commented_out_is_none() -> None:
    assert list(bibtex.read("% @misc{old,\n%  title={Gone}\n% }\n")) == []


def test_entries_of_one_key_are_all_read() -> None:
    text = "@a{k, title={One}}\n@a{k, title={Two}}\n@a{K, title={Three}}"
    assert [each.fields["title"] for each in bibtex.read(text)] == ["One", "Two", "Three"]


def test_a_damaged_entry_has_no_abstract() -> None:
    entry = only("@a{k, title={T}, abstract={Never closed,\n eprint={1},\n year={2017}\n}\n")
    assert entry.fields == {"title": "T", "eprint": "1", "year": "2017"}


@pytest.mark.parametrize(
    "text",
    ["@media (width > 1px) {\n a {color: red}\n}", "@dataclass(slots=True)\nclass A:", "a@b.c"],
)
def test_what_begins_no_entry_is_no_bibtex(text: str) -> None:
    assert not bibtex.looks_like(text)
    assert list(bibtex.read(text)) == []


def test_broken_entries_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert len(list(bibtex.read("@a{k, title={T}, x {\n"))) == 1
    assert caplog.records == []


@given(st.text() | st.text(alphabet=st.sampled_from("{}\\$&%#_~^-'`\"@(a n")))
def test_what_is_escaped_is_read_as_it_was(text: str) -> None:
    text = one_line(clean(text, 1_000))
    fields = only(bibtex.write_entry("misc", "k", (), {"title": text, "note": "after"})).fields
    assert plain(fields["note"]) == "after"
    assert plain(fields.get("title", "")) == text


@given(st.text(alphabet=st.sampled_from('@{}()"#=,\\%\n abk$~'), max_size=200))
def test_nothing_makes_reading_fail(text: str) -> None:
    for entry in bibtex.read("@a{k," + text):
        plain(" ".join(entry.fields.values()))
        names(" and ".join(entry.fields.values()))


@pytest.mark.parametrize(
    "piece",
    [
        "@a{k, t={", "{", '@a{k, t="', "@a{k, x=", "\\", "@", "a = ", "\n,a", "}@a{k,", "a={x},",
        "a={\n", 'a="{\n', 'a="x}\n', " ", "\n", "\na", "a = {x} # ",
        "author = {a and\n", "%", "\n%", "\n %",
    ],
)  # fmt: skip
def test_reading_takes_no_more_than_its_length(piece: str) -> None:
    # With a square of the work this would take minutes.
    for begun in ("@a{k, ", "@a{k, author = {"):
        for entry in bibtex.read(begun + piece * (300_000 // len(piece))):
            plain(" ".join(entry.fields.values()))
            names(entry.fields.get("author", ""))


def test_macros_do_not_grow_beyond_measure() -> None:
    macros = "".join(f"@string{{m{n} = m{n - 1} # m{n - 1}}}\n" for n in range(1, 60))
    text = f"@string{{m0 = {{xx}}}}\n{macros}@a{{k, title = m59{' # m59' * 50_000}}}"
    assert len(only(text).fields["title"]) == 100_000
