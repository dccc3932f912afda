"""Subscribing, confirming and logging in on pages, in a browser without scripts."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from bs4 import BeautifulSoup
from sqlalchemy import func, select

from tests.support.factories import DAY, impression, paper
from tests.support.web_world import ADDRESS, StillSite, Visitor, World, new_world
from triage import store
from triage.digest.preview import Preview
from triage.domain.link_tokens import Purpose
from triage.domain.records import EventKind, Subscriber, SubscriberState
from triage.store.tables import sessions, signup_requests
from triage.web.account.signup import CONSENT, LONGEST_FILLING, PREVIEWS

NEW = "new.reader@example.org"
A_MOMENT = timedelta(seconds=5)
NO_MAIL = "No mail can go to this address: the"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def form_after_a_moment(world: World, visitor: Visitor) -> httpx.Response:
    page = visitor.get("/subscribe")
    world.clock.at += A_MOMENT
    return page


def n_asks(world: World) -> int:
    with world.db.read() as conn:
        return conn.scalar(select(func.count()).select_from(signup_requests)) or 0


def reader_of(world: World, email: str = NEW) -> Subscriber | None:
    with world.db.read() as conn:
        return store.subscribers.by_email_key(conn, email)


# -- subscribing -----------------------------------------------------------------------------------


def test_somebody_subscribes_confirms_logs_in_and_finds_what_they_chose(world: World) -> None:
    ada = world.visitor()
    asked = ada.submit(
        form_after_a_moment(world, ada),
        "subscribe",
        email=NEW,
        interests="knitting with light",
        categories="cs.CL, hep-th",
        hour="18",
        zone="Asia/Tokyo",
    )
    assert asked.status_code == 200
    assert "Check your mailbox" in asked.text
    assert reader_of(world) is None
    [note] = world.answers()
    assert (note.recipient, note.kind) == (NEW, "confirm")
    shown = ada.get(note.path)
    assert reader_of(world).state is SubscriberState.PENDING  # type: ignore[union-attr]
    confirmed = ada.submit(shown)
    assert "18:00 (Asia/Tokyo)" in confirmed.text
    reader = reader_of(world)
    assert reader is not None
    assert (reader.state, reader.interests) == (SubscriberState.ACTIVE, "knitting with light")
    with world.db.read() as conn:
        assert store.subscribers.consent(conn, reader.id).words == CONSENT
    ada.submit(ada.get("/login"), email=NEW)
    [login] = world.answers()
    entered = ada.submit(ada.get(login.path))
    assert entered.history[0].headers["location"] == "/"
    assert "knitting with light" in ada.get("/preferences").text


def test_papers_that_were_pasted_are_likes_once_the_address_is_confirmed(world: World) -> None:
    ben = world.visitor()
    pasted = "https://arxiv.org/abs/2603.00002\narXiv:2603.00001 and 2603.00002 again\n10.5555/new"
    ben.submit(form_after_a_moment(world, ben), "subscribe", email=NEW, likes=pasted)
    [note] = world.answers()
    page = ben.get(note.path)
    assert world.events() == []
    for _ in range(2):
        ben.submit(page)
    reader = reader_of(world)
    assert reader is not None
    likes = [(reader.id, paper, EventKind.VOTE_UP) for paper in (2, 1)]
    assert world.events() == likes


def test_nothing_is_sent_before_confirming_but_the_one_mail(world: World) -> None:
    ada = world.visitor()
    ada.submit(form_after_a_moment(world, ada), "subscribe", email=NEW)
    [note] = world.answers()
    for _ in range(3):
        for method in ("GET", "HEAD"):
            assert ada.ask(method, note.path).status_code == 200
    assert ada.post(note.path, data={"do": "something"}).status_code == 200
    assert reader_of(world).state is SubscriberState.PENDING  # type: ignore[union-attr]
    assert world.answers() == []


def test_a_mistake_stands_beside_its_field_and_nothing_typed_is_lost(world: World) -> None:
    ada = world.visitor()
    typed = {
        "email": "not an address",
        "interests": 'words with "quotes" & <b>',
        "categories": "cs.CL ???",
        "hour": "19",
        "zone": "Asia/Tokyo",
    }
    again = ada.submit(form_after_a_moment(world, ada), "subscribe", **typed)
    assert again.status_code == 422
    assert 'id="email-wrong"' in again.text
    assert 'id="categories-wrong"' in again.text
    assert "words with &#34;quotes&#34; &amp; &lt;b&gt;</textarea>" in again.text
    assert '<option value="19" selected>' in again.text
    assert "<option selected>Asia/Tokyo</option>" in again.text
    assert n_asks(world) == 0
    mended = ada.submit(again, "subscribe", email=NEW, categories="cs.CL")
    assert "Check your mailbox" in mended.text
    [note] = world.answers()
    ada.submit(ada.get(note.path))
    reader = reader_of(world)
    assert reader is not None
    assert reader.interests == 'words with "quotes" & <b>'
    assert (reader.hour, reader.zone) == (19, "Asia/Tokyo")


@pytest.mark.parametrize(
    ("email", "says"),
    [
        ("käse@example.org", f"{NO_MAIL} part before the @ has characters outside ASCII"),
        ("почта@почта.рф", f"{NO_MAIL} part before the @ has characters outside ASCII"),
        ("用户@例子.测试", f"{NO_MAIL} part before the @ has characters outside ASCII"),
        (f"u@{'a.' * 90}example.org", f"{NO_MAIL} domain has more than 185 characters"),
        (f"u@{'bücher.' * 13}example", f"{NO_MAIL} domain has more than 185 characters"),
        ("nobody", "This is not a mail address: "),
        ("u@aא.example", "This is not a mail address: "),
    ],
)
def test_an_address_that_no_mail_can_go_to_is_refused_on_the_page_with_the_reason(
    world: World, email: str, says: str
) -> None:
    ada = world.visitor()
    asked = ada.submit(form_after_a_moment(world, ada), "subscribe", email=email)
    login = ada.submit(ada.get("/login"), email=email)
    for answer in (asked, login):
        assert answer.status_code == 422
        assert says in answer.text
        assert ".." not in answer.text
    assert n_asks(world) == 0
    assert world.answers() == []


@pytest.mark.parametrize(
    ("typed", "mailed"),
    [
        ("u@bücher.example", "u@xn--bcher-kva.example"),
        ("u@xn--bcher-kva.example", "u@xn--bcher-kva.example"),
        ("U@BÜCHER.example", "U@xn--bcher-kva.example"),
        ("u@почта.рф", "u@xn--80a1acny.xn--p1ai"),
        ("u@例え.テスト", "u@xn--r8jz45g.xn--zckzah"),
    ],
)
def test_a_reader_with_an_international_domain_confirms_and_logs_in(
    world: World, typed: str, mailed: str
) -> None:
    ada = world.visitor()
    ada.submit(form_after_a_moment(world, ada), "subscribe", email=typed)
    [note] = world.answers()
    assert (note.recipient, note.kind) == (mailed, "confirm")
    ada.submit(ada.get(note.path))
    for form in (typed, mailed):
        ada.submit(ada.get("/login"), email=form)
        [login] = world.answers()
        assert login.recipient == mailed
    assert "Log out" in ada.submit(ada.get(login.path)).text


@pytest.mark.parametrize("field", ["hour", "zone", "categories", "interests", "email"])
@pytest.mark.parametrize("value", ["\0", "é" * 9000, "-1", "99999999999999999999", "Mars/Base"])
def test_whatever_is_typed_breaks_nothing(world: World, field: str, value: str) -> None:
    ada = world.visitor()
    page = form_after_a_moment(world, ada)
    answer = ada.submit(page, "subscribe", **({"email": NEW} | {field: value}))
    assert answer.status_code in {200, 422}
    world.answers()


def test_back_and_reload_send_nothing_again(world: World) -> None:
    ada = world.visitor()
    asked = ada.submit(form_after_a_moment(world, ada), "subscribe", email=NEW)
    assert asked.history[0].headers["location"] == "/subscribe/sent"
    [note] = world.answers()
    confirmed = ada.submit(ada.get(note.path))
    assert confirmed.history[0].headers["location"] == "/subscribed#first"
    assert "The next digest comes at 07:00 (UTC)" in confirmed.text
    again = ada.get("/subscribed")
    assert again.status_code == 200
    assert "The next digest" not in again.text
    told = ada.submit(ada.get("/login"), email=NEW)
    assert told.history[0].headers["location"] == "/login/sent"
    [code] = re.findall(r"\d{3} \d{3}", told.text)
    assert code in ada.get("/login/sent").text
    assert code not in world.visitor().get("/login/sent").text
    assert world.visitor().get("/login/sent").headers["location"] == "/login"
    assert n_asks(world) == 2


def test_an_error_names_its_field_and_has_the_focus(world: World) -> None:
    ada = world.visitor()
    page = form_after_a_moment(world, ada)
    wrong = ada.submit(page, "subscribe", email="x", categories="cs.LC", likes="<html>")
    html = BeautifulSoup(wrong.text, "html5lib")
    listed = [(each.text, each["href"]) for each in html.select(".notice.bad li a")]
    assert listed == [("Categories", "#categories"), ("Your mail address", "#email")]
    assert [each["id"] for each in html.select("[autofocus]")] == ["categories"]
    assert "did you mean cs.CL, cs.LO" in wrong.text
    wrong = ada.submit(page, "subscribe", email=NEW, likes="<html>")
    html = BeautifulSoup(wrong.text, "html5lib")
    [listed_one] = html.select(".notice.bad li a")
    assert listed_one.text == html.select("label[for=likes]")[0].text
    assert [each["id"] for each in html.select("[autofocus]")] == ["likes"]


def test_who_fills_in_the_hidden_field_gets_the_same_answer_and_no_mail(world: World) -> None:
    ada, bot = world.visitor(), world.visitor()
    thanks = ada.submit(form_after_a_moment(world, ada), "subscribe", email=NEW)
    same = bot.submit(
        form_after_a_moment(world, bot), "subscribe", email="b@example.org", website="http://x"
    )
    assert (same.status_code, same.text) == (thanks.status_code, thanks.text)
    assert n_asks(world) == 1


def test_who_is_quicker_than_people_presses_twice(world: World) -> None:
    ada = world.visitor()
    again = ada.submit(ada.get("/subscribe"), "subscribe", email=NEW)
    assert "press the button again" in again.text
    assert n_asks(world) == 0
    world.clock.at += A_MOMENT
    assert "Check your mailbox" in ada.submit(again, "subscribe").text
    assert n_asks(world) == 1


@pytest.mark.parametrize("stamp", ["", "1.x", "٣.x", "9" * 400 + ".x", "é.é"])
def test_a_form_that_is_none_of_ours_is_given_anew(world: World, stamp: str) -> None:
    ada = world.visitor()
    page = form_after_a_moment(world, ada)
    again = ada.submit(page, "subscribe", email=NEW, stamp=stamp)
    assert again.status_code == 422
    world.clock.at += A_MOMENT
    assert "Check your mailbox" in ada.submit(again, "subscribe").text


def test_a_form_that_was_open_for_a_day_is_given_anew(world: World) -> None:
    ada = world.visitor()
    page = ada.get("/subscribe")
    world.clock.at += LONGEST_FILLING
    again = ada.submit(page, "subscribe", email=NEW)
    assert again.status_code == 422
    assert f'value="{NEW}"' in again.text


# -- the preview -----------------------------------------------------------------------------------


def test_a_preview_shows_papers_with_reasons_and_keeps_what_was_typed(world: World) -> None:
    found = (impression(1, paper=paper(1, title="Of <i>yarn</i>")),)
    world.shown = Preview(found, 1, (DAY,))
    before = world.everything()
    ada = world.visitor()
    page = ada.submit(
        form_after_a_moment(world, ada), "preview", interests="yarn", email="half@", hour="9"
    )
    assert page.status_code == 200
    assert "Of &lt;i&gt;yarn&lt;/i&gt;" in page.text
    assert "The best of 1 paper of 2 March 2026:" in page.text
    assert "Matches “speculative decoding”" in page.text
    assert 'value="half@"' in page.text
    assert ">\nyarn</textarea>" in page.text
    assert world.everything() == before


def test_a_preview_takes_pasted_papers_for_words_and_counts_strange_ones(world: World) -> None:
    world.shown = Preview((), 5, (DAY,))
    ada = world.visitor()
    page = ada.submit(
        form_after_a_moment(world, ada), "preview", likes="2603.00001\n10.5555/new\nsome words"
    )
    assert page.status_code == 200
    assert "1 of these is a paper that we do not have yet" in page.text
    assert "1 of these is not a paper that we have" in page.text
    assert "2603.00001" in page.text


@pytest.mark.parametrize("button", ["preview", "subscribe"])
def test_a_pasted_text_that_is_no_list_is_an_error_of_its_field(world: World, button: str) -> None:
    ada = world.visitor()
    before = world.everything()
    page = ada.submit(
        form_after_a_moment(world, ada), button, email=NEW, likes="<html>2603.00001</html>"
    )
    assert page.status_code == 422
    assert "This seems to be a web page: give one of BibTeX" in page.text
    assert world.everything() == before


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        (Preview(), "This site has no papers yet"),
        (Preview((), 0, (DAY,)), "The papers of 2 March 2026 are not prepared yet"),
        (
            Preview((), 1207, (date(2025, 12, 30), date(2026, 1, 2), DAY)),
            "We looked at 1207 papers of 30 December 2025, 2 January and 2 March 2026, and none",
        ),
    ],
)
def test_a_preview_of_nothing_says_why(world: World, shown: Preview, told: str) -> None:
    world.shown = shown
    ada = world.visitor()
    page = ada.submit(form_after_a_moment(world, ada), "preview", categories="cs.CL")
    assert told in page.text


def test_a_preview_needs_words_that_can_be(world: World) -> None:
    ada = world.visitor()
    page = form_after_a_moment(world, ada)
    assert 'id="interests-wrong"' in ada.submit(page, "preview").text
    assert 'id="categories-wrong"' in ada.submit(page, "preview", categories="?").text
    wrong = ada.submit(page, "preview", categories="cs.CL cs.XX").text
    assert 'id="categories-wrong"' in wrong
    assert "did you mean cs." in wrong


def test_a_network_that_asks_too_often_is_told_when_it_may_again(world: World) -> None:
    """The words that were typed are still in the form, and known addresses are answered alike."""
    ada = world.visitor("192.0.2.1")
    page = form_after_a_moment(world, ada)
    for n in range(15):
        assert ada.submit(page, email=f"reader{n}@example.org").status_code == 200
    neighbour = world.visitor("192.0.2.9")
    answers = [
        neighbour.submit(page, email=email, interests="knitting with glass")
        for email in (ADDRESS, "nobody@example.org")
    ]
    for answer, email in zip(answers, (ADDRESS, "nobody@example.org"), strict=True):
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "3660")
        assert "Please try again in 61 minutes, at 13:01 UTC." in answer.text
        assert "knitting with glass" in answer.text
        assert email in answer.text
    assert answers[0].text.replace(ADDRESS, "nobody@example.org") == answers[1].text
    refused = neighbour.submit(neighbour.get("/login"), email=ADDRESS)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "3660")
    assert "Please try again in 61 minutes" in refused.text
    assert "set-cookie" not in refused.headers
    world.clock.sleep(3660)
    assert neighbour.submit(neighbour.get("/login"), email=ADDRESS).status_code == 200


def test_previews_are_limited_by_network_and_minute(world: World) -> None:
    ada = world.visitor()
    page = form_after_a_moment(world, ada)
    statuses = [
        ada.submit(page, "preview", interests="yarn").status_code for _ in range(PREVIEWS.most + 2)
    ]
    assert statuses == [200] * PREVIEWS.most + [429] * 2
    refused = ada.submit(page, "preview", interests="yarn")
    assert "Please try again in 60 seconds." in refused.text
    assert refused.headers["retry-after"] == "60"
    world.clock.at += timedelta(minutes=1)
    assert ada.submit(page, "preview", interests="yarn").status_code == 200


# -- nobody can ask who is subscribed --------------------------------------------------------------


def test_the_answer_is_the_same_whoever_is_asked_for(world: World) -> None:
    for path, button, hidden in (
        ("/subscribe", "subscribe", ""),
        ("/login", None, r"\d{3} \d{3}"),
    ):
        answers = []
        for email in (ADDRESS, "nobody@example.org", "Ada.Reader+x@EXAMPLE.org"):
            somebody = world.visitor()
            # The code on the page changes its compressed size.
            somebody.headers["accept-encoding"] = "identity"
            page = somebody.get(path)
            world.clock.at += A_MOMENT
            answer = somebody.submit(page, button, email=email)
            headers = {k: v for k, v in answer.headers.items() if k != "set-cookie"}
            body = re.sub(hidden, "", answer.text, count=1) if hidden else answer.text
            answers.append((answer.status_code, headers, body))
        assert answers[0] == answers[1] == answers[2]


# -- logging in ------------------------------------------------------------------------------------


def test_another_browser_types_the_code(world: World) -> None:
    desktop, phone = world.visitor(), world.visitor()
    told = desktop.submit(desktop.get("/login"), email=ADDRESS)
    code = re.search(r"\d{3} \d{3}", told.text)
    assert code is not None
    [note] = world.answers()
    page = phone.get(note.path)
    assert 'name="code"' in page.text
    wrong = phone.submit(page, code="000000" if code[0] != "000 000" else "000001")
    assert wrong.status_code == 403
    assert "code is wrong" in wrong.text
    assert not phone.cookies
    assert phone.submit(wrong, code=code[0]).status_code == 200
    assert ADDRESS in phone.get("/preferences").text
    assert desktop.get(note.path).status_code == 410


def test_back_to_the_link_after_the_login_is_no_error_and_gives_nobody_a_session(
    world: World,
) -> None:
    ada = world.visitor()
    ada.submit(ada.get("/login"), email=ADDRESS)
    [note] = world.answers()
    page = ada.get(note.path)
    assert "Log out" in ada.submit(page).text
    back = ada.get(note.path)
    assert (back.status_code, back.headers["location"]) == (303, "/")
    assert ada.post(note.path, data={"do": "enter"}).status_code == 410
    assert world.visitor().get(note.path).status_code == 410


def test_five_wrong_codes_end_it(world: World) -> None:
    desktop, guesser = world.visitor(), world.visitor()
    desktop.submit(desktop.get("/login"), email=ADDRESS)
    [note] = world.answers()
    page = guesser.get(note.path)
    statuses = [guesser.submit(page, code=f"x{n}").status_code for n in range(7)]
    assert statuses == [403] * 5 + [410] * 2
    assert desktop.get(note.path).status_code == 410


@pytest.mark.parametrize("base_url", ["https://triage.example", "http://127.0.0.1:8000"])
def test_cookies_are_out_of_reach(world: World, base_url: str) -> None:
    world.site = StillSite(base_url=base_url)
    is_https = base_url.startswith("https")
    ada = world.visitor()
    asked = ada.submit(ada.get("/login"), email=ADDRESS)
    [note] = world.answers()
    entered = ada.submit(ada.get(note.path))
    [entered] = entered.history
    [asked] = asked.history
    set_by = [*asked.headers.get_list("set-cookie"), *entered.headers.get_list("set-cookie")]
    prefix = "__Host-" if is_https else ""
    assert [line.partition("=")[0] for line in set_by] == [
        f"{prefix}login", "next", f"{prefix}session", f"{prefix}login", "next",
    ]  # fmt: skip
    for line in set_by:
        assert "; HttpOnly" in line
        assert "; Path=/" in line
        assert "; SameSite=lax" in line
        assert "Domain" not in line
        assert ("; Secure" in line) == is_https


def test_logging_out_ends_every_session(world: World) -> None:
    here, there = world.logged_in(), world.logged_in()
    here.submit(here.get("/preferences"), "everywhere")
    assert not here.cookies
    assert ADDRESS not in there.get("/preferences").text
    with world.db.read() as conn:
        assert conn.scalar(select(func.count()).select_from(sessions)) == 0


def test_logging_out_on_a_page_ends_this_session_only(world: World) -> None:
    here, there = world.logged_in(), world.logged_in()
    kept = dict(here.cookies)
    here.submit(here.get("/preferences"), "Log out")
    assert not here.cookies
    # Whoever has copied the cookie is logged out, too.
    here.cookies = kept
    assert ADDRESS not in here.get("/preferences").text
    assert ADDRESS in there.get("/preferences").text


def test_the_login_leads_back_to_the_page_where_it_began(world: World) -> None:
    ada = world.visitor()
    page = ada.get(ada.get("/likes?page=1").headers["location"])
    ada.submit(page, email=ADDRESS)
    [note] = world.answers()
    [entered] = ada.submit(ada.get(note.path)).history
    assert entered.headers["location"] == "/likes?page=1"


def test_the_link_to_log_in_knows_the_page_but_no_token(world: World) -> None:
    visitor = world.visitor()
    assert 'href="/login?next=/papers/1"' in visitor.get("/papers/1").text
    for path in ("/v/" + world.vote(), "/p/" + world.token(Purpose.PAPER), "/login", "/subscribe"):
        assert "next=" not in visitor.get(path).text.partition("<main>")[0]


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "https://evil.example", "x"])
def test_the_login_leads_to_no_other_site(world: World, path: str) -> None:
    ada = world.visitor()
    ada.submit(ada.get("/login"), email=ADDRESS, next=path)
    [note] = world.answers()
    ada.cookies["next"] = quote(path)
    [entered] = ada.submit(ada.get(note.path)).history
    assert entered.headers["location"] == "/"


def test_a_link_of_one_subscriber_opens_nothing_of_another(world: World) -> None:
    other = world.logged_in(reader=1)
    page = other.get("/preferences").text
    assert "other@example.org" in page
    assert ADDRESS not in page
