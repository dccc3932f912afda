"""A slate becomes a digest that is quick to read, never clipped, and says only what it should."""

from __future__ import annotations

import dataclasses
import re
import unicodedata

import pytest
from hypothesis import given, settings

from tests.support.digests import (
    HOSTILE,
    URL,
    digest,
    examples,
    links_of,
    problems_of_html,
    slates,
    with_abstracts,
)
from tests.support.factories import impression, paper, slate, subscriber
from tests.support.guarantees import Guarantee
from triage.digest.render import encoded_size, render_digest
from triage.domain.records import Detail, Policy, Reason, ReasonKind, RenderedDigest, Slate
from triage.domain.vote_texts import VOTE_WORDS
from triage.errors import MessageError
from triage.resources import templates_dir

EXAMPLES = examples()


def rendered(made: Slate) -> RenderedDigest:
    return render_digest(made, links_of(made), "triage")


def one(**fields: object) -> RenderedDigest:
    """Render a digest of a single paper."""
    return rendered(slate(0, impressions=(impression(1, paper=paper(1, **fields)),)))


def flat(text: str) -> str:
    return " ".join(text.split())


# -- what it says ----------------------------------------------------------------------------------


def test_a_digest_says_how_many_papers_from_where_and_when() -> None:
    made = rendered(slate(3))
    for part in (made.text, digest(slate(3)).soup.get_text()):
        assert "3 papers for you" in part
        assert "Monday, 2 March 2026 · triage" in part
        assert "arXiv: 214 new papers, complete." in part
    assert made.n_papers == 3


def test_the_subject_names_the_first_papers_and_nothing_dangles() -> None:
    assert rendered(slate(1)).subject == "1 paper for you: Speculative decoding with 1 drafts"
    assert rendered(slate(2)).subject == (
        "2 papers for you: Speculative decoding with 1 drafts; Speculative decoding with 2 drafts"
    )
    assert rendered(slate(9)).subject == (
        "9 papers for you: Speculative decoding with 1 drafts; Speculative decoding with 2 drafts"
    )
    long = slate(0, impressions=(impression(1, paper=paper(1, title="very " * 99)), impression(2)))
    assert re.fullmatch(r"2 papers for you: (very )+very…", rendered(long).subject)


@pytest.mark.parametrize("name", EXAMPLES)
def test_subject_and_preheader_fit_into_an_inbox(name: str) -> None:
    made = digest(EXAMPLES[name])
    assert 20 <= len(made.rendered.subject) <= 102
    preheader = made.soup.find("div", class_="preheader")
    assert preheader is not None
    assert 40 <= len(preheader.get_text()) <= 120


def test_the_preheader_goes_on_where_the_subject_ends() -> None:
    assert (
        "Chosen from 214 papers. Also: Speculative decoding with 3 drafts"
        in rendered(slate(9)).html
    )
    assert "Chosen from 214 papers on Monday, 2 March 2026." in rendered(slate(1)).html


def test_every_paper_shows_title_authors_source_categories_date_text_and_reason() -> None:
    made = digest(slate(1))
    for part in (made.part("plain"), made.soup.get_text()):
        for told in (
            "Speculative decoding with 1 drafts",
            "Ada Lovelace, Charles Babbage",
            "arXiv · cs.CL cs.LG · 2 March 2026",
            "We study drafts of length 1. They make decoding faster at no loss.",
            "Why: matches “speculative decoding”",
        ):
            assert told in flat(part)


def test_of_many_authors_the_first_three_and_the_last_two_are_named() -> None:
    few = tuple(f"A{i}" for i in range(6))
    assert "A0, A1, A2, A3, A4, A5\n" in one(authors=few).text
    assert (
        "A0, A1, A2 … A1998, A1999 (2,000 authors)"
        in one(authors=tuple(f"A{i}" for i in range(2000))).text
    )


@pytest.mark.parametrize(
    ("source", "badge"),
    [
        ("arxiv", "arXiv"),
        ("biorxiv", "bioRxiv"),
        ("listing", "Hugging Face"),
        ("feed:Nature Methods", "Nature Methods"),
    ],
)
def test_the_badge_is_what_people_call_the_source(source: str, badge: str) -> None:
    assert f"    {badge} · cs.CL" in one(source=source).text


def test_upvotes_are_shown_where_they_are_known() -> None:
    assert "2 March 2026 · 1 upvote\n" in one(upvotes=1).text
    assert "2 March 2026 · 1,234 upvotes\n" in one(upvotes=1234).text
    assert "upvote" not in one(upvotes=None).text


def test_venue_and_citations_are_shown_where_they_are_known() -> None:
    made = one(upvotes=2, venue="Nature & Methods", citations=1234)
    assert "2 upvotes · Nature & Methods · 1,234 citations" in flat(made.text)
    assert "2 upvotes · Nature &amp; Methods · 1,234 citations" in made.html
    assert "2 March 2026 · 1 citation\n" in one(citations=1).text
    assert "citation" not in one(citations=0).text + one(citations=None).text
    assert len(one(venue="Proceedings of the " * 9).text) < len(one().text) + 80


def why(*reasons: tuple[str, ...]) -> list[str]:
    """Return the "Why" of papers with these reasons."""
    made = slate(
        0,
        impressions=tuple(
            impression(n, reasons=tuple(Reason(ReasonKind.LIKES, text) for text in each))
            for n, each in enumerate(reasons, start=1)
        ),
    )
    return re.findall(r"Why: (.*?)(?= We study)", flat(rendered(made).text))


def test_the_strongest_reason_is_shown_and_the_second_if_both_are_short() -> None:
    assert why(("first", "second", "third")) == ["first; second"]
    [long] = why(("first " * 20, "second " * 20))
    assert "first first" in long
    assert "second" not in long


def test_a_reason_is_told_once_and_its_number_after_that() -> None:
    assert why(("a",), ("b", "a"), ("a", "c"), ("a", "b", "c", "d"), ("b",)) == [
        "a",
        "b",
        "as for number 1; c",
        "as for number 1; d",
        "as for number 2",
    ]


def test_papers_that_a_vote_is_likely_for_say_so() -> None:
    made = digest(EXAMPLES["chances"])
    for part in (made.part("plain"), made.soup.get_text()):
        told = re.findall(r"([A-Z][a-z ]+)\. Why: ", flat(part))
        assert told == ["Very likely yours", "Likely yours", "Perhaps yours"]
        assert flat(part).count("Why: ") == 4


def test_nothing_is_said_of_explorations_and_of_scores_that_are_no_chances() -> None:
    explored = impression(1, score=0.95, prior=0.9, policy=Policy.EXPLORATION)
    of_an_old_version = impression(2, score=0.95, prior=None)
    text = rendered(slate(0, impressions=(explored, of_an_old_version))).text
    assert "likely" not in text


def test_an_exploration_says_so_in_the_heading_and_at_the_paper() -> None:
    made = digest(EXAMPLES["exploration"])
    for part in (made.part("plain"), made.soup.get_text()):
        assert "One of them is an exploration." in flat(part)
        assert flat(part).count("Exploration: outside your usual picks") == 1
    assert "xploration" not in rendered(slate(3)).text
    both = tuple(impression(i, policy=Policy.EXPLORATION) for i in (1, 2))
    assert "2 of them are explorations." in rendered(slate(0, impressions=both)).text


def test_who_wants_tldrs_gets_them_where_there_are_any() -> None:
    text = rendered(EXAMPLES["tldr"]).text
    assert "Drafts make decoding faster." in text
    assert "We study drafts of length 1." not in text
    assert "We study drafts of length 2." in text
    assert Detail.ABSTRACT is subscriber().detail
    whole = paper(1, tldr="Short.", abstract="The abstract.")
    assert "The abstract." in rendered(slate(0, impressions=(impression(paper=whole),))).text


def test_a_long_abstract_ends_with_a_sentence_and_the_rest_is_a_link_away() -> None:
    made = one(abstract="A sentence of some words about drafts. " * 40)
    assert "about drafts. <a" in made.html
    assert ">Full abstract</a>" in made.html
    assert (
        400 < len(made.text[made.text.index("A sentence") : made.text.index("Full abstract")]) < 700
    )
    assert ">More about it</a>" in one(abstract="All of it.").html


def test_a_paper_with_nothing_but_a_title_is_shown_plainly() -> None:
    made = one(abstract="", authors=(), categories=(), source_id=None)
    assert "arXiv · 2 March 2026" in made.text
    assert "Why do I get this?" in made.text
    assert "(without a title)" in one(title="\u202e\r\n").text


def test_the_footer_says_why_one_gets_this_and_how_to_leave() -> None:
    made = digest(EXAMPLES["weekly"])
    for part in (made.part("plain"), made.soup.get_text()):
        assert "Why do I get this? This address is subscribed to the weekly digest" in flat(part)
        assert "Unsubscribe" in part
        assert "Opening a link changes nothing" in part


# -- one digest, two parts -------------------------------------------------------------------------


def all_urls(made_html: str) -> set[str]:
    soup = digest(slate(1)).soup.__class__(made_html, "html5lib")
    hrefs = {str(anchor["href"]) for anchor in soup.find_all("a")}
    hrefs = {href for href in hrefs if not href.startswith("#")}
    for hidden in soup.find_all(["style", "title"]):
        hidden.decompose()
    preheader = soup.find("div", class_="preheader")
    assert preheader is not None
    preheader.decompose()
    return hrefs | set(URL.findall(soup.get_text(" ")))


@pytest.mark.parametrize("name", EXAMPLES)
def test_text_and_html_hold_the_same_links(name: str) -> None:
    made = rendered(EXAMPLES[name])
    assert all_urls(made.html) == set(URL.findall(made.text))


@given(slates())
@settings(max_examples=40)
def test_text_and_html_hold_the_same_links_whatever_the_papers_say(made: Slate) -> None:
    digest_ = rendered(made)
    assert all_urls(digest_.html) == set(URL.findall(digest_.text))


def test_every_link_of_every_paper_is_there_in_its_order() -> None:
    made = slate(4)
    links = links_of(made)
    votes = [(each.up, each.save, each.down, each.less) for each in links.papers]
    pdfs = [f"https://arxiv.org/pdf/2603.{n:05d}" for n in range(1, 5)]
    expected = [
        url
        for each, pdf, four in zip(links.papers, pdfs, votes, strict=True)
        for url in (each.upstream, pdf, each.page, *four)
    ]
    tail = [links.preferences, links.unsubscribe]
    text = URL.findall(rendered(made).text)
    assert text == [*expected, links.vote_page, links.home, *tail]
    glance = [url for n, pdf in enumerate(pdfs, start=1) for url in (f"#paper-{n}", pdf)]
    hrefs = [str(anchor["href"]) for anchor in digest(made).soup.find_all("a")]
    assert hrefs == [*glance, *expected, links.vote_page, *tail, links.home]


def test_the_titles_come_first_and_lead_to_their_papers() -> None:
    made = digest(slate(3))
    titles = [f"Speculative decoding with {n} drafts" for n in (1, 2, 3)]
    [listed] = made.soup.find_all("ol")
    for number, (item, heading) in enumerate(
        zip(listed.find_all("li"), made.soup.find_all("h2"), strict=True), start=1
    ):
        assert item.a["href"] == f"#{heading.a['id']}"
        assert heading.a["name"] == heading.a["id"]
        assert item.a.get_text() == titles[number - 1]
        assert heading.get_text() == f"{number}. {titles[number - 1]}"
    text = made.part("plain")
    assert [text.index(f" {n}. {title}") for n, title in enumerate(titles, start=1)] < [
        text.index("arXiv: 214 new papers")
    ]
    assert text.count(titles[2]) == 2


def test_a_digest_of_one_paper_has_no_list_of_titles() -> None:
    made = digest(slate(1))
    assert made.soup.find("ol") is None
    assert made.part("plain").count("Speculative decoding with 1 drafts") == 1


def test_pdf_and_code_are_a_press_away_but_only_at_hosts_that_everybody_knows() -> None:
    known = "https://github.com/ada/drafts"
    text = f"Code at http://gitlab.e.vil/x, https://gitlab.e.vil/y and {known}, and that is all."
    made = digest(slate(0, impressions=(impression(1, paper=paper(1, comment=text)),)))
    found = {a.get_text(): a["href"] for a in made.soup.find_all("a")}
    assert (found["PDF"], found["Code"]) == ("https://arxiv.org/pdf/2603.00001", known)
    assert f"    PDF: https://arxiv.org/pdf/2603.00001\n    Code: {known}\n" in made.part("plain")
    assert "e.vil" not in made.part("html")


def test_the_votes_have_the_same_four_words_everywhere() -> None:
    made = digest(slate(1))
    row = made.soup.find("p", class_="votes")
    assert row is not None
    words = [a.get_text() for a in row.find_all("a")]
    assert words == ["Like", "Save", "Not for me", "Less like this"] == list(VOTE_WORDS.values())
    assert re.findall(r"^    ([A-Z][a-z ]+): +https://\S+/v/", made.part("plain"), re.M) == words


def test_a_url_within_an_abstract_stays_whole() -> None:
    url = "https://example.org/" + "a-long-path/" * 15 + "?x=1&y=2"
    made = one(abstract=f"{'We put some words before it ' * 10}and the code is at {url} too.")
    assert url in made.text
    assert url.replace("&", "&amp;") in made.html


@pytest.mark.parametrize("name", EXAMPLES)
def test_text_is_wrapped_at_78_columns_and_urls_stand_whole(name: str) -> None:
    for line in rendered(EXAMPLES[name]).text.split("\n"):
        columns = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)
        assert columns <= 78 or "://" in line
        assert line == line.rstrip()


# -- strangers' text -------------------------------------------------------------------------------


@given(slates())
@settings(max_examples=60)
def test_no_text_of_a_stranger_becomes_anything_but_text(made: Slate) -> None:
    html = rendered(made).html
    assert problems_of_html(html) == []
    n = len(made.impressions)
    n_resources = sum(len(each.resources) for each in links_of(made).papers)
    n_listed = n + n_resources if n > 1 else 0
    assert len(re.findall("<a ", html)) == 6 * n + n_resources + n_listed + 4
    assert len(re.findall("<td", html)) == len(made.impressions) + 4


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hostile_in_any_field_gets_through(text: str) -> None:
    fields = {
        "title": text,
        "abstract": text,
        "tldr": text,
        "comment": text,
        "authors": (text, text),
        "categories": (text,),
        "source": f"feed:{text}",
        "source_id": text,
    }
    shown = impression(1, paper=paper(1, **fields), reasons=(Reason(ReasonKind.LIKES, text),))
    made = slate(0, impressions=(shown,), day_report=text)
    html = render_digest(made, links_of(made), text).html
    assert problems_of_html(html) == []
    text_part = render_digest(made, links_of(made), text).text
    both = html + text_part
    assert "49" not in re.sub(r"https?://\S+|#[0-9a-f]{6}", "", both)
    assert not any(unicodedata.category(c) in {"Cc", "Cs"} for c in both.replace("\n", ""))
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u2028\u2029\u200f]", both)


def test_a_forged_upstream_link_is_replaced_by_our_own_page() -> None:
    made = slate(1)
    links = links_of(made)
    for forged in ("javascript:alert(1)", "data:text/html,x", 'https://x"onclick=', "//x", ""):
        evil = dataclasses.replace(
            links, papers=(dataclasses.replace(links.papers[0], upstream=forged),)
        )
        html = render_digest(made, evil, "triage").html
        assert problems_of_html(html) == []
        assert forged == "" or forged not in html


@pytest.mark.parametrize("field", ["unsubscribe", "preferences", "home"])
@pytest.mark.parametrize(
    "url", ["", "javascript:alert(1)", "https://x y", "https://é", "/relative"]
)
def test_own_links_must_be_plain_web_addresses(field: str, url: str) -> None:
    made = slate(1)
    with pytest.raises(MessageError, match="base_url"):
        render_digest(made, dataclasses.replace(links_of(made), **{field: url}), "triage")  # type: ignore[arg-type]


# -- sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 25, 60])
@pytest.mark.parametrize("script", ["要旨。", "نص طويل ", "👩🏽‍🔬", "Plain words of an abstract. "])
def test_a_digest_is_never_clipped(n: int, script: str) -> None:
    abstract = script * (20_000 // len(script))
    made = digest(with_abstracts(n, abstract, title=script * 90, authors=(script * 30,) * 9))
    assert len(made.encoded("html")) <= 80_000
    assert len(made.message.mime) <= 150_000
    soup = made.soup
    assert len(soup.find_all("h2")) == made.rendered.n_papers
    assert "Unsubscribe" in soup.get_text()
    dropped = n - made.rendered.n_papers
    for part in (made.part("plain"), soup.get_text()):
        assert (f"{dropped} more on the web" in part) == (dropped > 0)


def test_ordinary_digests_of_sixty_papers_drop_the_last_ones_first() -> None:
    made = rendered(slate(60))
    assert 15 < made.n_papers < 60
    assert f"Speculative decoding with {made.n_papers} drafts" in made.text
    assert f"Speculative decoding with {made.n_papers + 1} drafts" not in made.text
    assert made.subject.startswith(f"{made.n_papers} papers for you")


def test_the_estimated_size_is_the_size_in_the_message() -> None:
    for made in EXAMPLES.values():
        whole = digest(made)
        for subtype in ("plain", "html"):
            text = whole.rendered.text if subtype == "plain" else whole.rendered.html
            assert abs(encoded_size(text) - len(whole.encoded(subtype))) <= 4  # line ends


def test_no_papers_no_digest() -> None:
    with pytest.raises(MessageError, match="at least one paper"):
        rendered(slate(0))


def test_papers_without_links_are_not_shown() -> None:
    links = links_of(slate(2))
    with pytest.raises(MessageError, match="3 papers but there are links for 2"):
        render_digest(slate(3), links, "triage")


# -- the page as such ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_html_is_without_fault(name: str) -> None:
    made = digest(EXAMPLES[name])
    html = made.part("html")
    assert problems_of_html(html) == []
    soup = made.soup
    assert soup.html is not None
    assert soup.html["lang"] == "en"
    assert soup.title is not None
    assert soup.title.get_text() == made.rendered.subject
    assert [h.name for h in soup.find_all(re.compile("^h[1-6]$"))] == [
        "h1",
        *["h2"] * made.rendered.n_papers,
    ]
    assert all(table["role"] == "presentation" for table in soup.find_all("table"))
    assert 'content="light dark"' in html
    assert all(anchor.get_text().strip() for anchor in soup.find_all("a"))


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2.2."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.guarantee("R3")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_of_a_text_stands_out_from_its_ground(
    scheme: str, guarantee: Guarantee
) -> None:
    css = (templates_dir() / "email/digest/body.html").read_text("utf-8")
    light, _, dark = css[css.index("<style>") : css.index("</style>")].partition(
        "@media (prefers-color-scheme: dark)"
    )
    rules = re.findall(r"\{([^{}]*)\}", light if scheme == "light" else dark)
    grounds = [re.search(r"background-color: (#\w+)", rule) for rule in rules]
    page = next(ground[1] for ground in grounds if ground)
    found = []
    for rule, ground in zip(rules, grounds, strict=True):
        colour = re.search(r"(?:^|[ ;{])color: (#\w+)", rule)
        if colour:
            found.append(contrast(colour[1], ground[1] if ground else page))
            assert found[-1] >= 4.5, rule
    assert len(found) >= 6
    guarantee.record(**{f"least_contrast_{scheme}": round(min(found), 2)})


def test_the_same_slate_gives_the_same_digest() -> None:
    assert rendered(slate(5)) == rendered(slate(5))
