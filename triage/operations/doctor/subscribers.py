"""Find the active subscribers who get no digest, or get it at another hour than they chose."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from triage import store
from triage.delivery.audit import find_left_out
from triage.digest.nightly import LEFT_OUT
from triage.domain.digest_calendar import is_known_zone
from triage.domain.records import SubscriberState
from triage.operations.doctor.finding import Result, ok, red

if TYPE_CHECKING:
    from triage.store import Database

# A digest that fails is tried again each minute, or by the next night's run.
RECENT = timedelta(hours=36)


def left_out(database: Database, now: datetime) -> Result:
    """Name each active subscriber with a trouble of their own, and say what it is."""
    with database.read() as conn:
        why = find_left_out(conn)
        failed: dict[str, str] = {}
        for outcome in store.jobs.outcomes(conn, LEFT_OUT, now - RECENT):
            failed |= json.loads(outcome)
        active = store.subscribers.everyone(conn, [SubscriberState.ACTIVE])
    for each in active:
        if each.email not in why and each.public_id in failed:
            why[each.email] = f"the last digest could not be made: {failed[each.public_id]}"
        elif each.email not in why and not is_known_zone(each.zone):
            why[each.email] = f"{each.zone!r} is not known, so digests come by UTC"
    if why:
        return red(
            "; ".join(f"{email}: {reason}" for email, reason in why.items()),
            "change their row or address, update the Python package tzdata for a time zone, or read"
            " the log for a digest that fails; all others get theirs",
        )
    return ok(f"{len(active)} active, and digests can go to all of them")
