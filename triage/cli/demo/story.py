"""Plays the demo: two days, three subscribers, and every step through the program's own code."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from triage import store
from triage.app.application import App, initialise, open_app
from triage.cli.demo.cast import CAST, Character
from triage.delivery.file_mailers import EmlFolder
from triage.digest.links import digest_links
from triage.digest.message import part_of
from triage.domain.link_tokens import Purpose
from triage.domain.records import Paper, Slate, Subscriber, Vote
from triage.errors import ConfigError
from triage.papers.ingest import ingest
from triage.ranking.serving.active_models import Serving, ensure_active_models
from triage.ranking.serving.model_versions import promote_version
from triage.ranking.serving.ranker import Ranking, load_pool, load_profile, rank
from triage.ranking.serving.user_model_cache import Tastes
from triage.resources import example_config
from triage.sources.files.detect import open_source
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.subscriptions import add
from triage.subscribers.votes import record_vote
from triage.training.train import train

PAPERS = Path(__file__).with_name("papers.jsonl.gz")
DAY_ONE = date(2025, 6, 26)
DAY_TWO = date(2025, 6, 27)
TOP = 5

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Change:
    """What a subscriber's votes changed on day two."""

    entered: tuple[Paper, ...]
    left: tuple[Paper, ...]
    best: Paper | None
    rank_before: int | None
    rank_after: int | None


def play(folder: Path, say: Say, program: str = "triage") -> None:
    """Run the whole loop in `folder`, which is made anew, and tell what happens.

    Args:
        program: how the command line is called here.

    Raises:
        ConfigError: the folder cannot be replaced.
    """
    app = _fresh_installation(folder)
    source = open_source(PAPERS, DAY_ONE)
    for report in ingest(app.database, source, app.clock, resume=False):
        n_papers = report.read
    say(f"{n_papers} real arXiv papers, listed from 25 to 27 June 2025; three subscribers:\n")
    people = {each: _join(app, each, say) for each in CAST}

    say(f"\nTHURSDAY {DAY_ONE.day} JUNE — the first digests\n")
    app.nightly().run(DAY_ONE, (), app.outbox())
    first = {each: _slate(app, people[each], DAY_ONE) for each in CAST}
    for each in CAST:
        _tell_digest(each, first[each], say)

    say("They vote by the links in their mails:\n")
    for each in CAST:
        _vote(app, each, first[each], say)
    _train(app, say)

    say(f"\nFRIDAY {DAY_TWO.day} JUNE — ranked without their votes, then with them\n")
    pair = ensure_active_models(app.database, app.workshop, app.clock, DAY_TWO)
    for each in CAST:
        _tell_change(each, _change(app, pair, people[each], each), say)
    app.nightly().run(DAY_TWO, (), app.outbox())
    for each in CAST:
        _tell_digest(each, _slate(app, people[each], DAY_TWO), say)
    _tell_files(folder, say, program)
    app.database.close()


def _fresh_installation(folder: Path) -> App:
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made anew: {error.strerror}") from error
    config, _ = initialise(folder, example_config())
    return open_app(config, mailer=EmlFolder(folder / "digests"))


def _join(app: App, each: Character, say: Say) -> Subscriber:
    say(f"  {each.name:<5} {each.about}")
    if each.interests:
        say(f"        “{each.interests}”")
    preferences = SubscriberPreferences(interests=each.interests)
    return add(app.database, each.email, app.clock, preferences, likes=each.likes).subscriber


def _slate(app: App, subscriber: Subscriber, on: date) -> Slate:
    with app.database.read() as conn:
        slate = store.slates.by_day(conn, subscriber.id, on)
    assert slate is not None  # noqa: S101 - the run before has made it
    return slate


def _tell_digest(each: Character, slate: Slate, say: Say) -> None:
    say(f"  {each.name}: {len(slate.impressions)} of {slate.n_candidates} papers, the first three")
    for shown in slate.impressions[:3]:
        say(f"    {shown.position}. {_short(shown.paper.title)}")
        say(f"       {'; '.join(reason.text for reason in shown.reasons)}")
    say("")


def _vote(app: App, each: Character, slate: Slate, say: Say) -> None:
    """Vote on everything in a digest, as the web page does once its button is pressed."""
    now = app.clock.now()
    site = app.settings.site
    links = digest_links(slate, app.keyring, site.base_url, site.contact, now.date())
    n_up = 0
    for shown, link in zip(slate.impressions, links.papers, strict=True):
        up = each.likes_it(shown.paper)
        n_up += up
        token = (link.up if up else link.down).rpartition("/")[2]
        claims = app.keyring.verify(token, Purpose.VOTE, now)
        record_vote(app.database, claims, app.clock, {"method": "demo"})
    say(f"  {each.name:<5} {n_up} up, {len(slate.impressions) - n_up} down")


def _train(app: App, say: Say) -> None:
    report = train(app.database, app.workshop, app.clock)
    say(
        f"\nThe ranker is trained: {report.version}, on {report.n_impressions} shown papers with"
        f" {report.n_votes} votes."
    )
    say(f"The gate says: {report.why}.")
    if not report.promoted:
        promote_version(app.database, app.workshop, app.clock, report.version)
        say("So that you see it at work, the demo promotes it by hand all the same.")


def _change(app: App, pair: Serving, subscriber: Subscriber, each: Character) -> Change:
    """Rank day two twice with the same ranker: as if the votes had not been cast, and with them."""
    with app.database.read() as conn:
        votes = store.events.votes(conn, subscriber.id)
    given = [vote for vote in votes if _outside_id(app, vote) in each.likes]
    seen = {vote.paper_id for vote in votes}
    before = _rank(app, pair, subscriber, given, seen)
    after = _rank(app, pair, subscriber, votes, seen)
    best = next((paper for paper in after.best(len(after.scores)) if each.likes_it(paper)), None)
    old, new = before.best(TOP), after.best(TOP)
    return Change(
        entered=tuple(paper for paper in new if paper not in old),
        left=tuple(paper for paper in old if paper not in new),
        best=best,
        rank_before=before.rank_of(best.id) if best else None,
        rank_after=after.rank_of(best.id) if best else None,
    )


def _outside_id(app: App, vote: Vote) -> str:
    with app.database.read() as conn:
        return store.papers.outside_id(store.papers.load(conn, [vote.paper_id])[vote.paper_id])


def _rank(
    app: App, pair: Serving, subscriber: Subscriber, votes: Sequence[Vote], seen: set[int]
) -> Ranking:
    days = app.settings.digest.max_age_days
    with app.database.read() as conn:
        return rank(
            load_profile(conn, pair.encoder, subscriber, votes, Tastes(pair.encoder).on(DAY_TWO)),
            load_pool(conn, pair.encoder, DAY_TWO, days),
            pair.scorer,
            seen=seen,
            on=DAY_TWO,
            max_age_days=days,
        )


def _tell_change(each: Character, change: Change, say: Say) -> None:
    say(f"  {each.name}: {len(change.entered)} of the top five changed")
    for paper in change.entered:
        say(f"    + {_short(paper.title)}")
    for paper in change.left:
        say(f"    - {_short(paper.title)}")
    if change.best is not None:
        say(
            f"    the best unseen paper to {each.name}'s taste went from rank"
            f" {change.rank_before} to {change.rank_after}: {_short(change.best.title, 60)}"
        )
    say("")


def _tell_files(folder: Path, say: Say, program: str) -> None:
    """Write each mail's HTML part beside it, for the browser, and name what there is to see."""
    say("Open:\n")
    for path in sorted((folder / "digests").glob("*.eml")):
        page = path.with_suffix(".html")
        page.write_text(part_of(path.read_bytes(), "html"), "utf-8")
        say(f"  {page}")
    config = folder / "triage.toml"
    say(f"\nThe mails themselves are the .eml files beside them. To vote yourself:"
        f" {program} --config {config} serve --pages-only")  # fmt: skip


def _short(title: str, width: int = 88) -> str:
    return title if len(title) <= width else title[: width - 1].rsplit(" ", 1)[0] + "…"
