"""The links of a digest lead to the pages that they are meant for."""

from __future__ import annotations

from datetime import UTC, datetime
from email.message import EmailMessage
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.factories import DAY, NOON, impression, paper, slate
from triage.digest.links import digest_links
from triage.domain.link_tokens import Keyring, Purpose
from triage.domain.paper_links import NAMED_LINK
from triage.domain.records import EventKind

KEYRING = Keyring("a secret of the tests, 32 or more characters")
BASE = "https://triage.example"


@pytest.mark.parametrize("base", [BASE, BASE + "/", BASE + "/papers/"])
def test_every_link_carries_a_token_of_its_purpose(base: str) -> None:
    chosen = slate(3)
    links = digest_links(chosen, KEYRING, base, "help@triage.example", DAY)
    start = base.rstrip("/")
    for shown, each in zip(chosen.impressions, links.papers, strict=True):
        assert each.upstream == f"https://arxiv.org/abs/{shown.paper.source_id}"
        votes = {
            EventKind.VOTE_UP: each.up,
            EventKind.VOTE_DOWN: each.down,
            EventKind.SAVE: each.save,
            EventKind.LESS_LIKE_THIS: each.less,
        }
        for kind, url in votes.items():
            assert url.startswith(f"{start}/v/")
            claims = KEYRING.verify(url.rpartition("/")[2], Purpose.VOTE, NOON)
            assert claims.action is kind
            assert claims.position == shown.position
            assert claims.slate == chosen.public_id
            assert claims.subscriber == chosen.subscriber.public_id
            assert claims.issued_at == datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
        assert each.page.startswith(f"{start}/p/")
        assert KEYRING.verify(each.page.rpartition("/")[2], Purpose.PAPER, NOON).action is None
    assert links.preferences == f"{start}/preferences"
    assert links.home == f"{start}/"
    assert links.vote_page.startswith(f"{start}/d/")
    claims = KEYRING.verify(links.vote_page.rpartition("/")[2], Purpose.DIGEST, NOON)
    assert (claims.slate, claims.position, claims.action) == (chosen.public_id, 0, None)
    assert links.unsubscribe.startswith(f"{start}/u/")


@pytest.mark.parametrize("contact", ["help@triage.example", "The desk <help@triage.example>"])
def test_a_mail_can_unsubscribe_too(contact: str) -> None:
    links = digest_links(slate(), KEYRING, BASE, contact, DAY)
    parts = urlsplit(links.unsubscribe_mailto)
    assert (parts.scheme, parts.path) == ("mailto", "help@triage.example")
    word, token = parse_qs(parts.query)["subject"][0].split()
    assert word == "unsubscribe"
    assert links.unsubscribe.endswith(token)
    KEYRING.verify(token, Purpose.UNSUBSCRIBE, NOON)


def test_where_bounces_are_read_who_leaves_by_mail_has_an_address_of_their_own() -> None:
    links = digest_links(slate(), KEYRING, BASE, "help@triage.example", DAY, "b@triage.example")
    parts = urlsplit(links.unsubscribe_mailto)
    local, _, domain = parts.path.partition("@")
    assert (parts.scheme, domain, parts.query) == (
        "mailto",
        "triage.example",
        "subject=unsubscribe",
    )
    assert local.startswith("b+")
    assert len(local) <= 64
    verified = KEYRING.verify_address(local.removeprefix("b+"))
    assert verified == (Purpose.UNSUBSCRIBE, slate().subscriber.public_id)
    other = digest_links(
        slate(public_id="6" * 20), KEYRING, BASE, "h@x.example", DAY, "b@y.example"
    )
    assert local in other.unsubscribe_mailto, "it is the subscriber's, not the digest's"


def test_the_same_digest_has_the_same_links_all_day() -> None:
    one, other = (digest_links(slate(), KEYRING, BASE, "h@example.org", DAY) for _ in range(2))
    assert one == other


def test_links_are_short_and_stand_in_a_header_unharmed() -> None:
    links = digest_links(slate(), KEYRING, BASE, "help@triage.example", DAY)
    assert max(len(url) for each in links.papers for url in (each.up, each.page)) <= 95
    message = EmailMessage()
    message["X-Test"] = f"<{links.unsubscribe}>, <{links.unsubscribe_mailto}>"
    assert links.unsubscribe in message["X-Test"]


def test_a_paper_cannot_choose_where_its_link_leads() -> None:
    wicked = paper(
        1, source="arxiv", source_id="javascript:alert(1)", title="//evil.example/\r\nX: y"
    )
    chosen = slate(impressions=(impression(1, paper=wicked),))
    url = digest_links(chosen, KEYRING, BASE, "h@example.org", DAY).papers[0].upstream
    assert urlsplit(url).netloc == "arxiv.org"
    assert "\r" not in url
    assert "\n" not in url


def test_the_repository_that_a_source_named_is_beside_the_title() -> None:
    named = {1: ((NAMED_LINK, "https://github.com/lab/speculation"),)}
    links = digest_links(slate(), KEYRING, BASE, "h@example.org", DAY, keys=named)
    assert ("Code", "https://github.com/lab/speculation") in links.papers[0].resources
    assert all(word != "Code" for each in links.papers[1:] for word, _ in each.resources)
