"""Deletes old models, promotes a stored model by hand, and rolls back to the previous one.

A pair that was active can become active again while its files exist, so only files that no rollback
needs are deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from triage import store
from triage.domain.protocols import Clock
from triage.errors import NotFound
from triage.ranking.serving.active_models import ActiveModels, promote
from triage.ranking.serving.model_store import ModelStore
from triage.store import Database
from triage.store.model_versions import MODELS_KEPT

ROLLED_BACK = "rolled back by hand"


def delete_old_models(database: Database, model_store: ModelStore, clock: Clock) -> list[str]:
    """Delete the files of models that no rollback needs; return their versions.

    Kept are the newest MODELS_KEPT scorers, the last MODELS_KEPT active pairs, the pairs that
    MODELS_KEPT rollbacks would reach, and the encoders of all of them.
    """
    with database.read() as conn:
        versions = store.model_versions.everything(conn)
        history = store.model_versions.history(conn)
    served = [(each.scorer_version, each.encoder_version) for each in history]
    pairs = {
        *list(dict.fromkeys(served))[:MODELS_KEPT],
        *list(dict.fromkeys(reversed(_rollback_stack(history))))[:MODELS_KEPT],
    }
    stored = [row for row in versions if "deleted_at" not in row.metrics]
    scorers = [row for row in stored if row.kind == "scorer"]
    needed = {version for pair in pairs for version in pair}
    needed.update(row.version for row in scorers[:MODELS_KEPT])
    needed.update(row.encoder_version for row in scorers if row.version in needed)
    needed.update([row.version for row in stored if row.kind == "encoder"][:1])
    unneeded = [row.version for row in stored if row.version not in needed]
    for version in unneeded:
        model_store.discard(version)
        with database.write() as conn:
            store.model_versions.mark_deleted(conn, version, clock.now())
    return unneeded


def promote_version(
    database: Database, model_store: ModelStore, clock: Clock, version: str
) -> None:
    """Make a stored scorer and its encoder active.

    Raises:
        NotFound: no scorer has that version.
        ModelError: its files, or its encoder's, cannot be used.
    """
    with database.read() as conn:
        row = store.model_versions.get(conn, version)
    if row is None or row.kind != "scorer":
        raise NotFound(f"there is no scorer {version}: `triage model list` shows them")
    pair = ActiveModels(
        model_store.load_encoder(row.encoder_version), model_store.load_scorer(version)
    )
    promote(database, clock, pair.scorer, pair.encoder, "promoted by hand")


def rollback(database: Database, model_store: ModelStore, clock: Clock) -> ActiveModels:
    """Make the pair active that was active before the present one.

    Raises:
        NotFound: no pair was active before.
        ModelError: the earlier pair's files cannot be used.
    """
    with database.read() as conn:
        history = store.model_versions.history(conn)
    served = _rollback_stack(history)
    if len(served) < 2:
        raise NotFound("nothing served before the present pair")
    scorer_version, encoder_version = served[-2]
    pair = ActiveModels(
        model_store.load_encoder(encoder_version), model_store.load_scorer(scorer_version)
    )
    promote(database, clock, pair.scorer, pair.encoder, ROLLED_BACK)
    return pair


def _rollback_stack(history: Sequence[Any]) -> list[tuple[str, str]]:
    """Return the pairs that rollbacks go through, from the last one to the active one."""
    served: list[tuple[str, str]] = []
    for row in reversed(history):
        if row.why == ROLLED_BACK:
            served.pop()
        else:
            served.append((row.scorer_version, row.encoder_version))
    return served
