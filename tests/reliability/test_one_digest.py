"""However many planners there are, each reader has one digest for each date."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import delete

from tests.support.factories import DAY
from tests.support.guarantees import Guarantee
from tests.support.installation import rows
from tests.support.mail_rig import fast_database, fill
from tests.support.senders import forking, sink, taken
from triage.store.tables import slates


@pytest.mark.guarantee("R8")
def test_of_many_planners_one_queues_each_readers_digest_of_a_date(guarantee: Guarantee) -> None:
    n_planners, n_readers = (8, 10_000) if guarantee.full else (4, 60)
    days = [str(DAY + timedelta(days=n)) for n in range(3)]
    senders = forking()
    with fast_database() as (database, url, folder):
        fill(database, n_readers)
        with database.write() as conn:
            # The readers stay; what waits for them is planned again.
            conn.execute(delete(slates))
        planners = [
            senders.start("tests.support.senders.plan", url=url, days=days, seed=n)
            for n in range(n_planners)
        ]
        assert [senders.wait(planner) for planner in planners] == [0] * n_planners
        planned = rows(database, "messages")
        assert len(planned) == len(rows(database, "slates")) == n_readers * len(days)
        assert len({(each["subscriber_id"], each["on"]) for each in planned}) == len(planned)

        ledger = folder / "ledger"
        with sink(ledger) as port:
            two = [
                senders.start("tests.support.senders.drain", url=url, port=port, connections=2)
                for _ in range(2)
            ]
            assert [senders.wait(sender) for sender in two] == [0, 0]
        arrived = Counter(row["id"] for row in taken(ledger))
        assert arrived == Counter(each["message_id"] for each in planned)
    guarantee.record(
        planners=n_planners,
        readers=n_readers,
        dates=len(days),
        rows=len(planned),
        most_copies_at_the_receiver=max(arrived.values()),
    )
