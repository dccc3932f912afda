"""With votes by mail, a digest needs no web page: its buttons and its way out are mails."""

from __future__ import annotations

import dataclasses
import re
from email import message_from_bytes
from email.utils import parseaddr
from urllib.parse import unquote

import pytest
from hypothesis import given, settings

from tests.support.digests import (
    CONTACT,
    HOSTILE,
    KEYRING,
    MADE_AT,
    SENDER,
    SITE,
    examples,
    slates,
    with_abstracts,
)
from tests.support.factories import impression, paper, slate
from tests.support.vote_mail import buttons, links, write
from triage.digest.links import digest_links
from triage.digest.message import build_digest, part_of
from triage.digest.render import MAX_HTML_BYTES, encoded_size, render_digest
from triage.domain.records import DigestLinks, EventKind, OutgoingMessage, Slate
from triage.domain.vote_texts import VOTE_WORDS
from triage.errors import MessageError

BASE = "http://127.0.0.1:8000"
MAILBOX = "bounces@papers.example.org"
URL = re.compile(r"(?:https?|mailto):[^\s<>\"]+")


def links_of(made: Slate, votes: str = "mailto", bounces: str = MAILBOX) -> DigestLinks:
    return digest_links(made, KEYRING, BASE, CONTACT, MADE_AT.date(), bounces, votes)


def mail(made: Slate, votes: str = "mailto", bounces: str = MAILBOX) -> OutgoingMessage:
    found = links_of(made, votes, bounces)
    return build_digest(
        made,
        found,
        render_digest(made, found, SITE),
        sender=SENDER,
        reply_to=CONTACT,
        site_name=SITE,
        date=MADE_AT,
    )


@pytest.mark.parametrize("bounces", [MAILBOX, "b@x.example", "a.mailbox_of-twenty.@papers.example"])
def test_each_button_writes_a_mail_to_an_address_that_is_the_vote(bounces: str) -> None:
    chosen = slate(3)
    for shown, each in zip(
        chosen.impressions, links_of(chosen, bounces=bounces).papers, strict=True
    ):
        for kind, url in {
            EventKind.VOTE_UP: each.up,
            EventKind.VOTE_DOWN: each.down,
            EventKind.SAVE: each.save,
            EventKind.LESS_LIKE_THIS: each.less,
        }.items():
            letter = write(url, "ada@home.example")
            local, _, domain = str(letter["To"]).rpartition("@")
            mailbox, _, token = local.partition("+")
            assert f"{mailbox}@{domain}" == bounces
            assert len(local) <= 64
            assert KEYRING.verify_vote_address(token) == (chosen.public_id, shown.position, kind)
            assert letter["Subject"] == f"{VOTE_WORDS[kind]}: {shown.paper.title}"
            assert "%2B" in url, "GNOME makes a space of a plain plus"
            assert "+" not in url


def test_without_a_mailbox_for_bounces_the_token_is_in_the_subject() -> None:
    chosen = slate(2)
    letter = write(links_of(chosen, bounces="").papers[1].save, "ada@home.example")
    assert letter["To"] == parseaddr(CONTACT)[1]
    found = re.fullmatch(
        r"Save: Speculative decoding with 2 drafts \[(\w{43})\]", letter["Subject"]
    )
    assert found
    assert KEYRING.verify_vote_address(found[1]) == (chosen.public_id, 2, EventKind.SAVE)


@pytest.mark.parametrize("bounces", [MAILBOX, ""])
def test_r1_as_amended_the_way_out_is_the_mail_alone_and_no_link_leads_to_the_site(
    bounces: str,
) -> None:
    for made in examples().values():
        mime = mail(made, bounces=bounces).mime
        head = mime.partition(b"\r\n\r\n")[0]
        [line] = [each for each in head.split(b"\r\n") if b"nsubscribe" in each]
        assert re.fullmatch(rb"List-Unsubscribe: <mailto:[^<>, ]+>", line)
        for part in ("plain", "html"):
            assert "127.0.0.1" not in part_of(mime, part)
            assert "mailto:" in part_of(mime, part)


@pytest.mark.parametrize("votes", ["mailto", "both"])
@pytest.mark.parametrize("name", examples())
def test_text_and_html_have_the_same_links(name: str, votes: str) -> None:
    mime = mail(examples()[name], votes).mime
    in_html = {url for url, _ in links(mime)}
    in_text = set(URL.findall(part_of(mime, "plain")))
    assert in_html <= in_text
    # The text of a paper may have addresses, which are no links.
    assert {url for url in in_text if url.startswith(("mailto:", BASE))} <= in_html


def test_both_has_the_links_and_the_mails() -> None:
    mime = mail(slate(2), "both").mime
    message = message_from_bytes(mime)
    assert message["List-Unsubscribe"].startswith(f"<{BASE}/u/")
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert len([url for url, _ in links(mime) if url.startswith(f"{BASE}/v/")]) == 8
    for word in VOTE_WORDS.values():
        assert len(buttons(mime, word)) == 2


def test_links_alone_have_no_mail() -> None:
    assert "mailto:" not in part_of(mail(slate(2), "links").mime, "html")


@given(slates())
@settings(max_examples=60, deadline=None)
def test_any_digest_is_made_and_its_buttons_are_read_again(made: Slate) -> None:
    found = links_of(made)
    assert len(mail(made).mime) <= 150_000
    for shown, each in zip(made.impressions, found.papers, strict=True):
        letter = write(each.up, "ada@home.example")
        token = str(letter["To"]).partition("+")[2].partition("@")[0]
        assert KEYRING.verify_vote_address(token)[1] == shown.position


@pytest.mark.parametrize("title", [*HOSTILE, "深度学习" * 60, "a" * 500, " ", "é" * 200, "🧪" * 90])
def test_a_title_adds_nothing_to_a_link_but_a_short_subject(title: str) -> None:
    chosen = slate(0, impressions=(impression(1, paper=paper(1, title=title)),))
    for url in dataclasses.astuple(links_of(chosen).papers[0])[2:6]:
        assert re.fullmatch(
            r"mailto:bounces%2Bv\w{42}@papers\.example\.org\?subject=[\w%.~-]+", url
        )
        assert len(url) <= 270
        assert not re.search(r"[\r\n\0\u202a-\u202e]", unquote(url))
        write(url, "ada@home.example")
    mail(chosen)


def test_sixty_papers_fit_by_dropping_the_last_and_say_so() -> None:
    made = with_abstracts(60, "We study drafts. " * 40)
    for votes in ("mailto", "both"):
        found = links_of(made, votes)
        rendered = render_digest(made, found, SITE)
        assert encoded_size(rendered.html) <= MAX_HTML_BYTES
        assert rendered.n_papers >= 20
        assert f"{60 - rendered.n_papers} more" in rendered.text
    assert "more did not fit into this mail" in render_digest(made, links_of(made), SITE).text


@pytest.mark.parametrize(
    "url", ["", "javascript:x", "mailto:a@b.c", "mailto:a@b.c?subject=x&bcc=e@v.il"]
)
def test_a_button_that_is_no_vote_is_refused(url: str) -> None:
    made = slate(1)
    found = links_of(made)
    wrong = dataclasses.replace(found, papers=(dataclasses.replace(found.papers[0], up=url),))
    with pytest.raises(MessageError, match="not an http"):
        render_digest(made, wrong, SITE)
