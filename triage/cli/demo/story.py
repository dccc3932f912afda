"""Runs the demo: two days, three subscribers, and every step with the code of the program."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from datetime import date
from email import message_from_bytes
from pathlib import Path

from triage import store
from triage.app.application import App, open_app
from triage.app.installation import create_installation
from triage.cli.demo.cast import CAST, Character
from triage.digest.links import digest_links
from triage.digest.message import part_of
from triage.domain.link_tokens import Purpose
from triage.domain.records import Slate, Subscriber, Vote
from triage.errors import ConfigError
from triage.papers.ingest import ingest
from triage.ranking.serving.active_models import ActiveModels, ensure_active_models
from triage.ranking.serving.model_versions import promote_version
from triage.ranking.serving.ranker import Ranking, load_pool, load_profile, rank
from triage.ranking.serving.user_model_cache import UserModelCache
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


def play(folder: Path, say: Say, program: str = "triage") -> None:
    """Delete `folder`, run the demo in it, and describe each step.

    Args:
        program: the command that started the demo.

    Raises:
        ConfigError: the folder cannot be replaced.
    """
    app = _create_installation(folder)
    *_, report = ingest(app.database, open_source(PAPERS, DAY_ONE), app.clock, resume=False)
    say(f"{report.read} real arXiv papers, listed on 25 to 27 June 2025, and three subscribers:\n")
    people = {each: _join(app, each, say) for each in CAST}

    say(f"\nTHURSDAY {DAY_ONE.day} JUNE: the first digests\n")
    app.new_nightly().run(DAY_ONE, (), app.new_outbox())
    slates = {each: _load_slate(app, people[each], DAY_ONE) for each in CAST}
    for each in CAST:
        _describe_digest(each, slates[each], say)

    say("Each subscriber votes on every paper, with the links in the mail:\n")
    for each in CAST:
        _vote(app, each, slates[each], say)
    _train(app, say)

    say(f"\nFRIDAY {DAY_TWO.day} JUNE: what the votes changed\n")
    say("The new ranker ranks the papers twice for each subscriber: without the votes, and with")
    say("them. The votes moved papers into the top five (+) and out of it (-).\n")
    pair = ensure_active_models(app.database, app.model_store, app.clock, DAY_TWO)
    for each in CAST:
        _compare_rankings(app, pair, people[each], each, say)
    say("The digests of this day:\n")
    app.new_nightly().run(DAY_TWO, (), app.new_outbox())
    for each in CAST:
        _describe_digest(each, _load_slate(app, people[each], DAY_TWO), say)
    _list_files(app, folder, say, program)
    app.database.close()


def _create_installation(folder: Path) -> App:
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be replaced: {error.strerror}") from error
    config, _ = create_installation(folder, example_config())
    return open_app(config)


def _join(app: App, each: Character, say: Say) -> Subscriber:
    say(f"  {each.name:<5} {each.about}")
    if each.interests:
        say(f"        “{each.interests}”")
    preferences = SubscriberPreferences(interests=each.interests)
    return add(app.database, each.email, app.clock, preferences, likes=each.likes).subscriber


def _load_slate(app: App, subscriber: Subscriber, on: date) -> Slate:
    with app.database.read() as conn:
        slate = store.slates.by_day(conn, subscriber.id, on)
    assert slate is not None  # noqa: S101 - the run has stored it
    return slate


def _describe_digest(each: Character, slate: Slate, say: Say) -> None:
    say(f"  {each.name}: {len(slate.impressions)} of {slate.n_candidates} papers; the first three:")
    for shown in slate.impressions[:3]:
        say(f"    {shown.position}. {_short(shown.paper.title)}")
        say(f"       {'; '.join(reason.text for reason in shown.reasons)}")
    say("")


def _vote(app: App, each: Character, slate: Slate, say: Say) -> None:
    """Vote on each paper of a digest, as the web page does when its button is pressed."""
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
    report = train(app.database, app.model_store, app.clock)
    say(
        f"\nThe ranker is trained: {report.version}, on {report.n_impressions} papers of digests"
        f" and {report.n_votes} votes."
    )
    say(f"The promotion test compares it with the active ranker. Result: {report.why}.")
    if not report.promoted:
        promote_version(app.database, app.model_store, app.clock, report.version)
        say("The demo uses the new ranker anyway, so that you see what it does.")


def _compare_rankings(
    app: App, pair: ActiveModels, subscriber: Subscriber, each: Character, say: Say
) -> None:
    """Rank day two twice with the same ranker, without the votes of day one and with them."""
    with app.database.read() as conn:
        votes = store.events.votes(conn, subscriber.id)
        papers = store.papers.load(conn, [vote.paper_id for vote in votes])
    initial = [
        vote for vote in votes if store.papers.outside_id(papers[vote.paper_id]) in each.likes
    ]
    before = _rank(app, pair, subscriber, initial, papers.keys())
    after = _rank(app, pair, subscriber, votes, papers.keys())
    old, new = before.best(TOP), after.best(TOP)
    entered = [paper for paper in new if paper not in old]
    say(f"  {each.name}: {len(entered)} of the top five changed")
    for paper in entered:
        say(f"    + {_short(paper.title)}")
    for paper in old:
        if paper not in new:
            say(f"    - {_short(paper.title)}")
    best = next((paper for paper in after.best(len(after.scores)) if each.likes_it(paper)), None)
    if best is not None:
        say(
            f"    the best paper that {each.name} likes went from rank {before.rank_of(best.id)}"
            f" to {after.rank_of(best.id)}: {_short(best.title, 60)}"
        )
    say("")


def _rank(
    app: App,
    pair: ActiveModels,
    subscriber: Subscriber,
    votes: Sequence[Vote],
    seen: Collection[int],
) -> Ranking:
    days = app.settings.digest.max_age_days
    with app.database.read() as conn:
        return rank(
            load_profile(
                conn, pair.encoder, subscriber, votes, UserModelCache(pair.encoder).on(DAY_TWO)
            ),
            load_pool(conn, pair.encoder, DAY_TWO, days),
            pair.scorer,
            seen=seen,
            on=DAY_TWO,
            max_age_days=days,
        )


def _list_files(app: App, folder: Path, say: Say, program: str) -> None:
    """Write each mail and its HTML part as files, and print the paths of the pages."""
    digests = folder / "digests"
    digests.mkdir()
    for mail in (app.settings.mail_path / "new").iterdir():
        mime = mail.read_bytes()
        headers = message_from_bytes(mime)
        day, who = headers["Feedback-ID"].partition(":")[0], headers["To"].partition("@")[0]
        path = digests / f"{day}-{who}-{mail.name[:12]}.eml"
        path.write_bytes(mime)
        path.with_suffix(".html").write_text(part_of(mime, "html"), "utf-8")
    say("Open the digests in a browser:\n")
    for page in sorted(digests.glob("*.html")):
        say(f"  {page}")
    say("\nThe .eml files in the same folder are the mails. To vote yourself, start the pages with")
    say(f"this command, then click a link in a digest: {program} --config {folder / 'triage.toml'}"
        " serve --pages-only")  # fmt: skip


def _short(title: str, width: int = 88) -> str:
    return title if len(title) <= width else title[: width - 1].rsplit(" ", 1)[0] + "…"
