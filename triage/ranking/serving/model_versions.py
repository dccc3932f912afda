"""Kept models: which may go, which serves by hand, and the way back.

Every pair that served can serve again with one command as long as its files are there, so files are
deleted only where no roll-back could need them.
"""

from __future__ import annotations

from collections.abc import Sequence

from triage import store
from triage.domain.protocols import Clock, ModelStore
from triage.errors import NotFound
from triage.ranking.serving.active_models import Serving, promote
from triage.store import Database
from triage.store.model_versions import MODELS_KEPT

ROLLED_BACK = "rolled back by hand"


def clear_away(database: Database, workshop: ModelStore, clock: Clock) -> list[str]:
    """Delete the files of old models that no roll-back could need; return which versions those are.

    The newest MODELS_KEPT scorers stay, the last MODELS_KEPT pairs that served, those that further
    roll-backs would reach, and the encoders of all of them.
    """
    with database.read() as conn:
        versions = store.model_versions.everything(conn)
        history = store.model_versions.history(conn)
    served = [(each.scorer_version, each.encoder_version) for each in history]
    pairs = {
        *list(dict.fromkeys(served))[:MODELS_KEPT],
        *list(dict.fromkeys(reversed(_standing(history))))[:MODELS_KEPT],
    }
    there = [row for row in versions if "deleted_at" not in row.metrics]
    scorers = [row for row in there if row.kind == "scorer"]
    needed = {version for pair in pairs for version in pair}
    needed.update(row.version for row in scorers[:MODELS_KEPT])
    needed.update(row.encoder_version for row in scorers if row.version in needed)
    needed.update([row.version for row in there if row.kind == "encoder"][:1])
    gone = [row.version for row in there if row.version not in needed]
    for version in gone:
        workshop.discard(version)
        with database.write() as conn:
            store.model_versions.mark_deleted(conn, version, clock.now())
    return gone


def promote_version(database: Database, workshop: ModelStore, clock: Clock, version: str) -> None:
    """Let a kept scorer serve, together with the encoder that it is bound to.

    Raises:
        NotFound: no scorer has that version.
        ModelError: its files, or its encoder's, cannot be used.
    """
    with database.read() as conn:
        row = store.model_versions.get(conn, version)
    if row is None or row.kind != "scorer":
        raise NotFound(f"there is no scorer {version}: `triage model list` shows them")
    pair = Serving(workshop.load_encoder(row.encoder_version), workshop.load_scorer(version))
    promote(database, clock, pair.scorer, pair.encoder, "promoted by hand")


def rollback(database: Database, workshop: ModelStore, clock: Clock) -> Serving:
    """Let the pair serve again that served before the present one.

    Raises:
        NotFound: nothing served before.
        ModelError: the earlier pair's files cannot be used.
    """
    with database.read() as conn:
        history = store.model_versions.history(conn)
    served = _standing(history)
    if len(served) < 2:
        raise NotFound("nothing served before the present pair")
    scorer_version, encoder_version = served[-2]
    pair = Serving(workshop.load_encoder(encoder_version), workshop.load_scorer(scorer_version))
    promote(database, clock, pair.scorer, pair.encoder, ROLLED_BACK)
    return pair


def _standing(history: Sequence[store.model_versions.Promotion]) -> list[tuple[str, str]]:
    """Return the pairs that a roll-back goes through, the serving one last."""
    served: list[tuple[str, str]] = []
    for row in reversed(history):
        if row.why == ROLLED_BACK:
            served.pop()
        else:
            served.append((row.scorer_version, row.encoder_version))
    return served
