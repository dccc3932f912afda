"""A message that brings its sender down harms only itself."""

from __future__ import annotations

import pytest

from tests.support.guarantees import Guarantee
from tests.support.installation import rows
from tests.support.mail_rig import fast_database, fill, mime_of
from tests.support.senders import forking, sink, taken
from triage.delivery.recovery import MOST_CRASHES

pytestmark = pytest.mark.any_database(
    "its messages take the steps that test_nothing_lost shows on each"
)

ABORTED = -6


@pytest.mark.guarantee("R13")
def test_poison_is_given_up_and_all_others_are_sent(guarantee: Guarantee) -> None:
    n = 10_000 if guarantee.full else 60
    kinds = {"abort": 8, "raise": 10, "huge": 2} if guarantee.full else {"abort": 1, "raise": 1}
    every = n // (sum(kinds.values()) + 1)
    names = [kind for kind, many in kinds.items() for _ in range(many)]
    poison = {every * (k + 1): kind for k, kind in enumerate(names)}

    def mime(k: int, to: str) -> bytes:
        kind = poison.get(k, "")
        plain = mime_of(k, to, 50_000_000 if kind == "huge" else 600)
        return plain.replace(b"Subject: papers", f"Subject: {kind}".encode()) if kind else plain

    senders = forking()
    with fast_database() as (database, url, folder):
        fill(database, n, mime=mime)
        ledger = folder / "ledger"
        with sink(ledger, largest=10_000_000) as port:
            told = {"url": url, "port": port, "connections": 4, "poisoned": True}
            n_runs = 1
            while (code := senders.run("tests.support.senders.drain", **told)) != 0:
                assert code == ABORTED
                n_runs += 1
            # Who only raises is tried once a run, and not at once again.
            for _ in range(MOST_CRASHES):
                assert senders.run("tests.support.senders.drain", **told) == 0
            # What was refused in a drain that crashed is offered once more, when it is due again.
            assert senders.run("tests.support.senders.drain", **told, ahead_s=3600.0) == 0
        found = {each["id"]: each for each in rows(database, "messages")}
        arrived = {row["id"] for row in taken(ledger)}
    given_up = {id for id, each in found.items() if each["state"] == "failed"}
    assert given_up == set(poison)
    assert {found[id]["reason"] for id, kind in poison.items() if kind != "huge"} == {"poison"}
    assert all(found[id]["reason"] == "too_large" for id in poison if poison[id] == "huge")
    assert all(each["state"] == "sent" for id, each in found.items() if id not in poison)
    assert arrived == {each["message_id"] for id, each in found.items() if id not in poison}
    most = max(found[id]["attempts"] for id in poison)
    assert most <= MOST_CRASHES
    assert n_runs <= 1 + MOST_CRASHES * kinds["abort"]
    guarantee.record(
        digests=n,
        poisonous=len(poison),
        others_sent=len(arrived),
        most_attempts_at_poison=most,
        senders_brought_down=n_runs - 1,
    )
