"""A reader's whole way in a real browser: from the first page to the last one, and back.

The program is the real one, with demo papers and a mail server that keeps what it takes; the reader
has nothing but a browser and a mailbox.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.e2e.site import ROOT, Site, installed
from tests.support import postgres
from tests.support.browser import chromium_for_tests, path_in
from triage.cli.demo.story import DAY_TWO

AXE = ROOT / "var" / "axe" / "axe.min.js"
INTERESTS = "Large language models and how to make them reason"
SEARCHED = "virtual memory for gaussian splatting"
FOUND = "Virtual Memory for 3D Gaussian Splatting"
WIDTHS = (320, 390, 1200)
# By night the colours are others, and nothing else is.
RULES: dict[Literal["light", "dark"], dict[str, object]] = {
    "light": {"resultTypes": ["violations"]},
    "dark": {"resultTypes": ["violations"], "runOnly": ["color-contrast"]},
}
SERIOUS = {"serious", "critical"}
FINDINGS = """
async options => (await axe.run(document, options)).violations.flatMap(
  fault => fault.nodes.map(node => [fault.impact, fault.id, node.target.join(' ')]))
"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Site]]:
    """Return what gives the site with a kind of database; each is made once."""
    made: dict[str, Site] = {}
    with ExitStack() as until_the_end:

        def site(kind: str) -> Site:
            if kind not in made:
                folder = tmp_path_factory.mktemp(kind)
                url = f"sqlite:///{folder}/site/triage.db"
                if kind == "postgresql":
                    url = until_the_end.enter_context(postgres.copy_of("template1"))
                made[kind] = until_the_end.enter_context(installed(folder, url))
            return made[kind]

        yield site


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium_for_tests() as started:
        yield started


# -- the reader ------------------------------------------------------------------------------------


@dataclass
class Reader:
    """Somebody with a browser and a mailbox. `look` is called on every page that they come to."""

    site: Site
    email: str
    page: Page
    look: Callable[[Page], None] = lambda _: None

    def next_mail(self) -> bytes:
        return self.site.next_mail(self.email)

    def open(self, path: str) -> None:
        self.page.goto(self.site.base_url + path)
        self.look(self.page)

    def follow(self, name: str) -> None:
        self.page.get_by_role("link", name=name, exact=True).first.click()
        self.look(self.page)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).first.click()
        self.look(self.page)

    def reads(self, heading: str) -> None:
        expect(self.page.get_by_role("heading", name=heading, exact=True)).to_be_visible()

    def is_told(self, words: str) -> None:
        expect(self.page.get_by_role("status")).to_contain_text(words)

    @property
    def state(self) -> str:
        [row] = self.site.stored("subscribers", self.email)
        return str(row["state"])


def goes_all_the_way(reader: Reader) -> None:
    subscribes(reader)
    confirms(reader)
    digest = gets_the_first_digest(reader)
    votes_from_the_mail(reader, digest)
    logs_in_from_a_paper(reader)
    votes_on_cards(reader)
    saves_to_a_collection(reader)
    follows_an_author(reader)
    goes_back(reader)
    chooses(reader)
    searches(reader)
    leaves_and_comes_back(reader, digest)


def subscribes(reader: Reader) -> None:
    page = reader.page
    reader.open("/")
    expect(page.get_by_role("region", name="Most upvotes this week")).to_be_visible()
    expect(page.get_by_role("article").first).to_be_visible()
    reader.follow("Subscribe")
    page.get_by_label("What you read").fill(INTERESTS)
    reader.press("Show what I would get")
    reader.reads("What you would get")
    expect(page.get_by_role("article")).not_to_have_count(0)
    page.get_by_label("Your mail address").fill("nobody at all")
    reader.press("Subscribe")
    expect(page.get_by_role("alert")).to_contain_text("This is not a mail address")
    page.get_by_label("Your mail address").fill(reader.email)
    # Nobody fills in a form in less.
    page.wait_for_timeout(2_000)
    reader.press("Subscribe")
    reader.reads("Check your mailbox")


def confirms(reader: Reader) -> None:
    reader.open(path_in(reader.next_mail()))
    assert reader.state == "pending"
    reader.press("Yes, send me the digest")
    reader.reads("You are subscribed")
    assert reader.state == "active"


def gets_the_first_digest(reader: Reader) -> Path:
    """Return the mail's HTML part as a file, for the browser."""
    reader.site.triage("run", "--date", str(DAY_TWO))
    mail = message_from_bytes(reader.next_mail(), policy=policy.default)
    assert mail["To"] == reader.email
    html = mail.get_body(("html",))
    assert html is not None
    digest = reader.site.mails / f"{reader.email}.html"
    digest.write_text(html.get_content(), "utf-8")
    return digest


def follows_in(digest: Path, selector: str, reader: Reader) -> None:
    """Open a mail and follow the first of such links in it."""
    reader.page.goto(digest.as_uri())
    reader.look(reader.page)
    reader.page.locator(selector).first.click()
    reader.look(reader.page)


def votes_from_the_mail(reader: Reader, digest: Path) -> None:
    """Vote on the whole digest from one page, to which a link for one paper leads."""
    page = reader.page
    follows_in(digest, ".text a", reader)
    expect(page.get_by_role("heading", name="Why it was sent")).to_be_visible()
    follows_in(digest, ".votes a", reader)
    reader.reads("Do you like this paper?")
    assert reader.site.stored("events", reader.email) == []
    cards = page.get_by_role("article")
    n_papers = cards.count()
    assert n_papers > 1
    for n in range(n_papers):
        # Whoever votes at once, and so soon after the mail was sent, may be a scanner.
        page.wait_for_timeout(1_500)
        choice = "Like" if n % 2 == 0 else "Not for me"
        presses_on_card(reader, n, choice)
        expect(pressed_on_card(reader, n)).to_have_text([choice])
    events = reader.site.stored("events", reader.email)
    assert [event["origin"] for event in events] == n_papers * ["person"]
    reader.open("/")
    page.goto(digest.as_uri())
    page.get_by_role("link", name="Vote on all papers on one page").click()
    reader.look(page)
    expect(cards).to_have_count(n_papers)


def logs_in_from_a_paper(reader: Reader) -> None:
    """Log in on the way to a paper's reasons, and be there afterwards."""
    page = reader.page
    reader.open("/")
    reader.open(str(page.locator("article h3 a").first.get_attribute("href")))
    address = page.url
    page.locator("main").get_by_role("link", name="Log in").click()
    reader.look(page)
    page.get_by_label("Your mail address").fill(reader.email)
    reader.press("Send me a link")
    reader.reads("Check your mailbox")
    reader.open(path_in(reader.next_mail()))
    page.locator("main").get_by_role("button", name="Log in").click()
    page.wait_for_url(address)
    reader.look(page)
    expect(page.get_by_role("button", name="Log out", exact=True)).to_be_visible()


def presses_on_card(reader: Reader, n: int, name: str) -> None:
    card = reader.page.get_by_role("article").nth(n)
    card.get_by_role("button", name=name, exact=True).click()
    reader.look(reader.page)


def pressed_on_card(reader: Reader, n: int) -> Locator:
    return reader.page.get_by_role("article").nth(n).locator("[aria-pressed=true]")


def votes_on_cards(reader: Reader) -> None:
    reader.follow("Today")
    reader.page.get_by_role("link", name="Newest").click()
    n_before = len(reader.site.stored("events", reader.email))
    for n, choice in enumerate(["Like", "Save", "Not for me", "Less like this", "Like"]):
        presses_on_card(reader, n, choice)
        expect(pressed_on_card(reader, n)).to_have_text([choice])
        expect(reader.page.get_by_role("article").nth(n).get_by_role("status")).to_be_visible()
    assert len(reader.site.stored("events", reader.email)) == n_before + 5
    presses_on_card(reader, 4, "Like")
    expect(pressed_on_card(reader, 4)).to_have_count(0)
    assert len(reader.site.stored("events", reader.email)) == n_before + 4


def saves_to_a_collection(reader: Reader) -> None:
    page = reader.page
    card = page.get_by_role("article").nth(5)
    title = card.get_by_role("heading").get_by_role("link").inner_text()
    card.get_by_role("link", name="Save to…").click()
    reader.look(page)
    page.get_by_label("And a new one").fill("To read on the train")
    reader.press("Save")
    expect(page.get_by_role("article").nth(5).get_by_role("status")).to_be_visible()
    reader.follow("Saved")
    page.get_by_role("link", name="To read on the train").click()
    reader.look(page)
    expect(page.get_by_role("article")).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("link", name="BibTeX").click()
    assert title.split()[0] in download.value.path().read_text("utf-8")


def follows_an_author(reader: Reader) -> None:
    page = reader.page
    page.get_by_role("article").get_by_role("heading").get_by_role("link").click()
    reader.look(page)
    author = page.locator("p.authors a").first.inner_text()
    page.locator("p.authors a").first.click()
    reader.look(page)
    reader.reads(author)
    reader.press("Follow this author")
    expect(page.get_by_role("button", name="Unfollow")).to_be_visible()
    [row] = reader.site.stored("subscribers", reader.email)
    assert author in str(row["followed_authors"])


def goes_back(reader: Reader) -> None:
    """No page that the browser goes back to is an error, and none votes again."""
    before = reader.site.stored("events", reader.email)
    for _ in range(4):
        answer = reader.page.go_back()
        assert answer is None or answer.status < 400
        expect(reader.page.get_by_role("button", name="Log out", exact=True)).to_be_visible()
    assert reader.site.stored("events", reader.email) == before


def chooses(reader: Reader) -> None:
    page = reader.page
    reader.follow("Preferences")
    reader.reads("Preferences")
    page.get_by_label("Hour").select_option("18")
    page.get_by_label("Words to exclude").fill("blockchain")
    reader.press("Save")
    reader.is_told("Saved.")
    [row] = reader.site.stored("subscribers", reader.email)
    assert row["hour"] == 18
    reader.open("/preferences")
    expect(page.get_by_label("Words to exclude")).to_have_value("blockchain")
    reader.open("/preferences/erase")
    reader.open("/import")
    reader.open("/likes")
    expect(page.get_by_role("article")).not_to_have_count(0)
    reader.open("/digests")
    page.locator("main li a").first.click()
    reader.look(page)
    expect(page.get_by_role("article").first.locator("[aria-pressed=true]")).to_have_text(["Like"])


def searches(reader: Reader) -> None:
    page = reader.page
    reader.follow("Search")
    page.get_by_label("Search for").fill(SEARCHED)
    reader.press("Search")
    found = page.get_by_role("article")
    expect(found).not_to_have_count(0)
    expect(found.first).to_contain_text(FOUND)
    title = found.first.get_by_role("heading").inner_text()
    found.first.get_by_role("heading").get_by_role("link").click()
    reader.look(page)
    reader.reads(title)
    reader.reads("Similar papers")
    similar = page.get_by_role("region", name="Similar papers").get_by_role("article")
    expect(similar).not_to_have_count(0)
    expect(similar.filter(has_text=title)).to_have_count(0)
    reader.follow("More similar papers")
    reader.reads("Similar papers")
    expect(found).not_to_have_count(0)


def leaves_and_comes_back(reader: Reader, digest: Path) -> None:
    follows_in(digest, "td.foot a:text-is('Unsubscribe')", reader)
    reader.reads("Stop the digest?")
    assert reader.state == "active"
    reader.press("Unsubscribe")
    reader.reads("You are unsubscribed")
    assert reader.state == "unsubscribed"
    reader.press("Undo: send me the digest")
    reader.reads("You are subscribed")
    assert reader.state == "active"


# -- what is shown ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "has_scripts"),
    [("sqlite", False), ("postgresql", True), ("postgresql", False)],
    ids=["sqlite-without-scripts", "postgresql", "postgresql-without-scripts"],
)
def test_a_reader_subscribes_votes_chooses_searches_leaves_and_comes_back(
    sites: Callable[[str], Site], browser: Browser, kind: str, has_scripts: bool
) -> None:
    with browser.new_context(java_script_enabled=has_scripts) as context:
        email = f"{'with' if has_scripts else 'without'}.scripts@example.org"
        goes_all_the_way(Reader(sites(kind), email, context.new_page()))


def test_on_this_way_every_page_fits_every_screen_and_shuts_nobody_out(
    sites: Callable[[str], Site], browser: Browser
) -> None:
    """On SQLite, with scripts: axe-core's own. It finds nothing serious on any page or in the mail,
    by day and by night.
    """
    if not AXE.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{AXE} is missing: run `make e2e`", pytrace=False)
        pytest.skip(f"{AXE} is missing: `make e2e` fetches it")
    faults: list[str] = []
    n_looked_at = 0

    def look(page: Page) -> None:
        nonlocal n_looked_at
        n_looked_at += 1
        where = f"“{page.title()}”"
        page.add_script_tag(path=AXE)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            if beyond := page.evaluate(OVERFLOW):
                faults.append(f"{where} is {beyond} px wider than {width} px")
        for scheme, options in RULES.items():
            page.emulate_media(color_scheme=scheme)
            for impact, name, target in page.evaluate(FINDINGS, options):
                if impact in SERIOUS:
                    faults.append(f"{where}, {scheme}: {impact}: {name} at {target}")

    # The pages let no script in from outside, which axe-core is.
    with browser.new_context(bypass_csp=True) as context:
        goes_all_the_way(
            Reader(sites("sqlite"), "with.scripts@example.org", context.new_page(), look)
        )

    assert faults == []
    assert n_looked_at > 20
