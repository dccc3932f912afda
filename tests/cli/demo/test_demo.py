"""What a stranger gets from `triage demo`: mails that parse, links that work, votes that count."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from tests.support.web_world import Client, everything
from triage import store
from triage.app.application import App, open_app
from triage.cli.demo.story import play
from triage.digest.message import HEADERS

pytestmark = pytest.mark.any_database("the demo has a database of its own, a file")

URL = re.compile(r"https?://[^\s<>\"]+")


@dataclass(frozen=True)
class Played:
    folder: Path
    story: str

    @property
    def mails(self) -> list[EmailMessage]:
        paths = sorted((self.folder / "digests").glob("*.eml"))
        messages = [message_from_bytes(p.read_bytes(), policy=policy.default) for p in paths]
        return [message for message in messages if isinstance(message, EmailMessage)]

    def app(self) -> App:
        return open_app(self.folder / "triage.toml")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Play the demo where an older one lies, beside a file that is not the demo's."""
    folder = tmp_path_factory.mktemp("demo") / "var" / "demo"
    folder.mkdir(parents=True)
    (folder / "old").write_text("from the last time")
    (folder.parent / "mine").write_text("not the demo's")
    lines: list[str] = []
    play(folder, lines.append)
    return Played(folder, "\n".join(lines))


def parts(message: EmailMessage) -> tuple[str, BeautifulSoup]:
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    return text.get_content(), BeautifulSoup(html.get_content(), "html5lib")


def test_it_leaves_two_digests_for_each_of_three_subscribers(played: Played) -> None:
    assert len(played.mails) == 6
    assert {str(mail["To"]) for mail in played.mails} == {
        "ada@example.org",
        "ben@example.org",
        "chen@example.org",
    }


def test_every_header_stands_exactly_once_in_every_mail(played: Played) -> None:
    for mail in played.mails:
        for name in HEADERS:
            assert len(mail.get_all(name, [])) == 1, name
        assert mail.defects == []


def test_text_and_html_list_the_same_papers_in_the_same_order_with_the_same_links(
    played: Played,
) -> None:
    for mail in played.mails:
        text, html = parts(mail)
        titles = [" ".join(heading.get_text().split()) for heading in html.find_all("h2")]
        assert len(titles) >= 3
        flat = " ".join(text.split())
        # The list at the top has the titles, too.
        places = [flat.rfind(title) for title in titles]
        assert -1 not in places
        assert places == sorted(places)
        hrefs = {str(anchor["href"]) for anchor in html.find_all("a")}
        assert {href for href in hrefs if not href.startswith("#")} == set(URL.findall(text))


def test_every_paper_links_to_its_upstream_page(played: Played) -> None:
    for mail in played.mails:
        _, html = parts(mail)
        for heading in html.find_all("h2"):
            anchor = heading.find("a")
            assert anchor is not None
            assert re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{5}", str(anchor["href"]))


def test_every_link_opens_and_changes_nothing_and_a_press_acts_once(played: Played) -> None:
    app = played.app()
    base = app.settings.site.base_url
    client = Client(app.new_web_app(), base)
    links = sorted(
        {
            url.removeprefix(base)
            for mail in played.mails
            for url in URL.findall(parts(mail)[0])
            if url.startswith(base)
        }
    )
    before = everything(app.database)
    assert len(links) > 250

    answers = {link: client.get(link).status_code for link in links}

    # Preferences ask who it is first.
    assert answers.pop("/preferences") == 303
    assert set(answers.values()) == {200}
    assert everything(app.database) == before
    with app.database.read() as conn:
        n_votes = len(store.events.listing(conn))
    saves = [a for a in parts(played.mails[0])[1].find_all("a") if a.get_text().strip() == "Save"]
    save = str(saves[0]["href"]).removeprefix(base)
    ballot = BeautifulSoup(client.get(save).text, "html5lib")
    button = ballot.find("button", attrs={"formaction": save})
    assert button is not None
    fields = {"vote": str(button["value"])}
    for _ in range(2):
        assert client.post(save, data=fields).status_code == 303
    with app.database.read() as conn:
        assert len(store.events.listing(conn)) == n_votes + 1
    app.database.close()


def test_the_story_says_what_each_got_and_what_the_votes_changed(played: Played) -> None:
    for name in ("ada", "ben", "chen"):
        # How many papers are likely enough differs; these days have many.
        sizes = re.findall(rf"^  {name}: (\d+) of \d+ papers", played.story, re.M)
        assert [3 <= int(size) <= 10 for size in sizes] == [True, True]
        assert re.search(rf"^  {name}: \d of the top five changed", played.story, re.M)
    assert re.search(r"the best paper that ada likes went from rank \d+ to \d+", played.story)
    assert "The ranker is trained: lm-" in played.story


def test_the_votes_lift_what_their_voter_likes(played: Played) -> None:
    ranks = re.findall(r"went from rank (\d+) to (\d+)", played.story)
    assert len(ranks) == 3
    assert all(int(after) <= int(before) for before, after in ranks)
    assert any(int(after) < int(before) for before, after in ranks)


def test_it_replaces_only_its_own_folder(played: Played) -> None:
    assert not (played.folder / "old").exists()
    var = played.folder.parent
    assert (var / "mine").read_text() == "not the demo's"
    assert {path.name for path in var.iterdir()} == {"demo", "mine"}
    assert [path.name for path in var.parent.iterdir()] == ["var"]
