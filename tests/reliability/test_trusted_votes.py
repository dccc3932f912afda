"""Votes come from people: what scanners and button pressers do to a digest teaches nothing."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import bindparam, select, update

from benchmarks.simulate import Diary, Votes, live, make_world, outspoken, truly
from tests.support.guarantees import Guarantee
from tests.support.web_world import Visitor, World, new_crowd, new_world
from triage import store
from triage.domain.link_tokens import Purpose
from triage.domain.records import EventKind, Origin
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.serving.model_store import ModelStore
from triage.store.tables import events, messages
from triage.subscribers import votes as voting
from triage.training.train import fit, label_training_log

N_PAPERS = 10
UP, DOWN, SAVE, LESS = (
    EventKind.VOTE_UP,
    EventKind.VOTE_DOWN,
    EventKind.SAVE,
    EventKind.LESS_LIKE_THIS,
)
BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0"}
TELLS = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate"}
GESTURE = {"sec-fetch-user": "?1"}
Press = tuple[int, int, datetime]
"""Subscriber, paper, and when a button was pressed, which no two do at once."""


@dataclass
class Traffic:
    """Whoever opens links and presses buttons; all that was pressed, and by whom."""

    world: World
    rng: np.random.Generator
    pressed: dict[Press, str] = field(default_factory=dict)

    def path(self, reader: int, position: int, kind: EventKind) -> str:
        claims = self.world.claims(position, kind, reader)
        return "/v/" + self.world.keyring.sign("vote", claims)  # type: ignore[arg-type]

    def wait(self, seconds: float) -> None:
        self.world.clock.at += timedelta(seconds=seconds, microseconds=1)

    def open(self, reader: int, position: int, kind: EventKind, headers: dict[str, str]) -> str:
        answer = self.world.client().get(self.path(reader, position, kind), headers=headers)
        assert answer.status_code == 200
        return answer.text

    def press(
        self,
        who: str,
        reader: int,
        position: int,
        kind: EventKind,
        page: str,
        headers: dict[str, str],
    ) -> None:
        """Press a button of a page, without cookies."""
        somebody = self.visitor(headers)
        self.press_on_page(who, reader, position, kind, page, somebody)

    def visitor(self, headers: dict[str, str]) -> Visitor:
        return Visitor(self.world.client(), headers)

    def press_on_page(
        self, who: str, reader: int, position: int, kind: EventKind, page: str, somebody: Visitor
    ) -> str:
        """Press a button of a page and return where it leads: to the same page."""
        stamp = re.search(r'name="stamp" value="([^"]+)"', page)
        back = re.search(r'name="back" value="([^"]+)"', page)
        assert stamp is not None
        assert back is not None
        world = self.world
        key = (world.readers[reader].id, world.papers[position - 1].id, world.clock.at)
        self.pressed[key] = who
        answer = somebody.post(
            self.path(reader, position, kind),
            data={"vote": kind, "stamp": stamp[1], "back": back[1]},
        )
        assert answer.status_code == 303
        return answer.headers["location"]

    def links(self, *kinds: EventKind) -> list[tuple[int, EventKind]]:
        return [(position, kind) for position in range(1, N_PAPERS + 1) for kind in kinds]

    def scan(self, reader: int, headers: dict[str, str]) -> None:
        """Open everything, as fast as it goes."""
        links = self.world.links(reader)
        for position, kind in self.links(*EventKind):
            self.open(reader, position, kind, headers)
            self.wait(self.rng.exponential(0.1))
        base = self.world.site.base_url
        for url in [*(paper.page for paper in links.papers), links.unsubscribe]:
            assert self.world.client().get(url.removeprefix(base), headers=headers).is_success

    def press_all(self, reader: int) -> None:
        """Press all or half of the buttons: at once, by a script, or slowly.

        Some open every link in the mail for it, and some find them all on one page.
        """
        rng, style = self.rng, int(self.rng.integers(4))
        headers = [{}, BROWSER | TELLS, BROWSER | TELLS | GESTURE, BROWSER | TELLS | GESTURE][style]
        pause_s = [0.1, 0.7, 1.5, 4.0][style]
        links = self.links(*EventKind)
        if rng.random() < 0.5:
            some = rng.permutation(len(links))[: len(links) // 2]
            links = [links[row] for row in some]
        is_one_page, keeps_cookies, reloads = (bool(rng.random() < 0.5) for _ in range(3))
        bot = self.visitor(headers)
        if is_one_page:
            path = self.any_page(reader)
            page = bot.get(path).text
        for position, kind in links:
            if not is_one_page:
                page = self.open(reader, position, kind, headers)
            self.wait(pause_s * rng.uniform(0.5, 1.5))
            if not is_one_page or not keeps_cookies:
                bot = self.visitor(headers)
            self.press_on_page("bot", reader, position, kind, page, bot)
            if is_one_page and reloads:
                page = bot.get(path).text
            self.wait(pause_s * rng.uniform(0.1, 0.5))

    def any_page(self, reader: int) -> str:
        """Return a page with all papers: that of a vote, or that of the digest."""
        if self.rng.random() < 0.3:
            claims = self.world.claims(0, None, reader)
            return "/d/" + self.world.keyring.sign(Purpose.DIGEST, claims)
        position, kind = int(self.rng.integers(N_PAPERS)) + 1, list(EventKind)
        return self.path(reader, position, kind[int(self.rng.integers(4))])

    def browser(self) -> dict[str, str]:
        """Return the headers of some person: most have new browsers."""
        browser = self.rng.random()
        if browser > 0.98:
            return {"user-agent": "Reader/3"}
        return BROWSER | TELLS | GESTURE if browser < 0.88 else BROWSER

    def read_on_one_page(self, reader: int) -> None:
        """Vote on five or ten papers of one page, some quickly, and change some votes."""
        rng, person = self.rng, self.visitor(self.browser())
        path = self.any_page(reader)
        page = person.get(path).text
        n_votes, is_quick = int(rng.choice([5, 10])), bool(rng.random() < 0.5)
        has_cookies = bool(rng.random() < 0.97)
        self.wait(max(0.6, rng.lognormal(1.6, 0.8)))
        for position in sorted(rng.permutation(N_PAPERS)[:n_votes] + 1):
            kind = (UP, UP, SAVE, DOWN, LESS)[int(rng.integers(5))]
            for n_tries in range(3):
                to = self.press_on_page("person", reader, int(position), kind, page, person)
                if not has_cookies:
                    person.cookies.clear()
                page = person.get(to).text
                if n_tries == 2 or rng.random() > 0.04:
                    break
                # It was the wrong button.
                self.wait(max(0.4, rng.lognormal(0.5, 0.5)))
                kind = [each for each in EventKind if each is not kind][int(rng.integers(3))]
            gap = rng.lognormal(0.9, 0.5) if is_quick else 2 + rng.exponential(15)
            self.wait(max(0.4, gap))

    def read(self, reader: int) -> None:
        """Vote on some papers through their links, as people do, some oddly."""
        rng, headers = self.rng, self.browser()
        habit = rng.random()
        wanted = [
            (int(position), (UP, UP, SAVE, DOWN, LESS)[int(rng.integers(5))])
            for position in rng.permutation(N_PAPERS)[: 1 + int(rng.integers(4))] + 1
        ]
        pages = {}
        if habit < 0.02:  # all of it in tabs, then one by one
            wanted = self.links(UP)
            for position, kind in wanted:
                pages[position, kind] = self.open(reader, position, kind, headers)
                self.wait(rng.uniform(0.5, 2))
        for position, kind in wanted:
            if habit > 0.97 and position == wanted[0][0]:  # the wrong link first
                self.open(reader, position, DOWN if kind in (UP, SAVE) else UP, headers)
                self.wait(rng.uniform(1, 5))
            page = pages.get((position, kind)) or self.open(reader, position, kind, headers)
            self.wait(max(0.4, rng.lognormal(1.2, 0.6)))
            self.press("person", reader, position, kind, page, headers)
            if rng.random() < 0.03:  # another choice on the same page
                other = [SAVE, LESS, UP, DOWN][list(EventKind).index(kind)]
                other = other if other is not kind else SAVE
                self.wait(max(0.4, rng.lognormal(1.2, 0.6)))
                self.press("person", reader, position, other, page, headers)
            self.wait(1 + rng.exponential(20))


@dataclass(frozen=True)
class Outcome:
    n_by_scanners: int
    n_by_people: int
    n_lost: int
    n_bot_presses: int
    n_bot_labels: int


def happens(folder: Path, n_digests: int) -> Outcome:
    """Let a crowd, its scanners and its bots have their digests; return what became of it."""
    world = new_crowd(folder, n_digests, N_PAPERS)
    rng = np.random.default_rng(21)
    traffic, gap = Traffic(world, rng), timedelta(hours=12)
    start = world.clock.at
    with world.db.write() as conn:
        change = update(messages).where(messages.c.slate_id == bindparam("of"))
        times = [{"of": n + 1, "at": start + n * gap} for n in range(n_digests)]
        conn.execute(change.values(sent_at=bindparam("at")), times)
    # Exact shares, in any order, so that a small crowd has some of each.
    ranks = [rng.permutation(n_digests) / n_digests for _ in range(3)]
    for reader in range(n_digests):
        scanner, bot, person = (rank[reader] for rank in ranks)
        sent_at = world.clock.at = start + reader * gap
        traffic.wait(rng.exponential(3))
        if scanner < 0.20:
            traffic.scan(reader, {} if scanner < 0.10 else BROWSER)
        elif scanner < 0.25:
            traffic.scan(reader, BROWSER | {"sec-fetch-site": "none"} | GESTURE)
            assert world.client().get("/style.css").is_success
        if bot < 0.01:
            traffic.wait(rng.exponential(30))
            traffic.press_all(reader)
        if person < 0.15:
            later = sent_at + timedelta(seconds=20 + 2400 * rng.lognormal(0, 1))
            world.clock.at = max(world.clock.at, min(later, sent_at + timedelta(hours=11)))
            (traffic.read_on_one_page if rng.random() < 0.5 else traffic.read)(reader)
    with world.db.read() as conn:
        rows = conn.execute(
            select(events.c.subscriber_id, events.c.paper_id, events.c.recorded_at, events.c.origin)
        ).all()
        taught = Counter(store.events.all_votes(conn))
    who = traffic.pressed
    believed = {tuple(row)[:3] for row in rows if row.origin == Origin.PERSON}
    assert sum(taught.values()) == len(believed)
    return Outcome(
        n_by_scanners=sum(tuple(row)[:3] not in who for row in rows),
        n_by_people=sum(each == "person" for each in who.values()),
        n_lost=sum(who[press] == "person" for press in who.keys() - believed),
        n_bot_presses=sum(each == "bot" for each in who.values()),
        n_bot_labels=sum(who.get(press) == "bot" for press in believed),  # type: ignore[call-overload]
    )


@pytest.mark.guarantee("R21")
def test_what_machines_press_teaches_nothing_and_what_people_press_does(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    n_digests = 10_000 if guarantee.full else 60
    found = happens(tmp_path, n_digests)
    assert found.n_by_scanners == 0
    assert found.n_bot_presses > 0
    assert found.n_bot_labels <= 0.01 * (found.n_by_people + found.n_bot_labels)
    assert found.n_lost <= 0.005 * found.n_by_people
    guarantee.record(
        digests=n_digests,
        votes_of_scanners=found.n_by_scanners,
        presses_of_bots=found.n_bot_presses,
        labels_of_bots=found.n_bot_labels,
        votes_of_people=found.n_by_people,
        votes_of_people_lost=found.n_lost,
    )
    if guarantee.full:
        lost = found.n_lost / found.n_by_people
        leaked = found.n_bot_labels / found.n_by_people
        clean, mixed = learned(range(8), lost, leaked)
        assert abs(clean - mixed) <= 0.005
        guarantee.record(ndcg_clean=round(clean, 4), ndcg_with_machines=round(mixed, 4))


def learned(seeds: range, lost: float, leaked: float) -> tuple[float, float]:
    """Return the true nDCG@10 of rankers taught by people, and by what came through of them.

    Args:
        lost: share of people's votes that go missing.
        leaked: labels of bots for each of people's, on any paper that was shown, of any kind.
    """
    n_days, values = 14, []
    for seed in seeds:
        rng = np.random.default_rng([21, seed])
        simulated = make_world(seed, n_readers=40, n_days=n_days + 3, per_day=60)
        readers, diary = range(40), Diary()
        for day in range(n_days):
            live(simulated, diary, day, ColdStartScorer(), [outspoken] * 40)
        kept: Votes = [vote for vote in diary.votes if rng.random() >= lost]
        for row in rng.integers(0, len(diary.shown), round(leaked * len(diary.votes))):
            _, subscriber, paper, *_ = diary.shown[row]
            kept.append((int(subscriber), int(paper), list(EventKind)[int(rng.integers(4))]))
        pair = []
        for votes in (diary.votes, kept):
            with tempfile.TemporaryDirectory() as folder:
                lessons, _ = label_training_log(diary.log(), votes)
                scorer = fit(ModelStore(Path(folder), b"a key"), lessons, simulated.encoder)
                days = range(n_days, n_days + 3)
                pair.append(truly(simulated, diary, scorer, days, readers)[0])
        values.append(pair)
    clean, mixed = np.mean(values, axis=0)
    return float(clean), float(mixed)


def test_doubted_votes_are_kept_shown_and_taken_back_into_account(tmp_path: Path) -> None:
    world = new_world(tmp_path)
    client = world.client()
    for position in (1, 2, 3):
        for kind in EventKind:
            done = client.post("/v/" + world.vote(kind, position), data={"vote": kind})
            assert done.status_code == 303
    reader = world.readers[0]
    with world.db.read() as conn:
        assert store.events.all_votes(conn) == []
        doubted = store.events.listing(conn, origin=Origin.SUSPECTED_SCANNER)
    assert len(doubted) == 12
    assert voting.believe(world.db, reader) == 12
    with world.db.read() as conn:
        assert len(store.events.votes(conn, reader.id)) == 3
    assert voting.believe(world.db, reader) == 0


def test_a_person_votes_as_a_bot_did_and_counts(tmp_path: Path) -> None:
    world = new_world(tmp_path)
    for _ in range(2):
        claims = world.claims(1, UP)
        bot = {"on_page_s": 0.1, "agent": "none", "since_sent_s": 5, "papers_contradicted": 3}
        assert voting.record_vote(world.db, claims, world.clock, bot).kind is UP
    assert len(world.events()) == 1
    world.clock.sleep(3600)
    page = world.client().get("/v/" + world.vote(UP))
    visitor = world.visitor()
    world.clock.sleep(4)
    assert "You like this paper." in visitor.submit(page).text
    with world.db.read() as conn:
        assert [vote.kind for vote in store.events.votes(conn, world.readers[0].id)] == [UP]
