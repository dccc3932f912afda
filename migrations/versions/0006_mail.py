"""Mail: attempts, suppressions, bounces, pace; bytes apart from states, and ways that are enforced.

A message's bytes move to a table of their own: SQLite writes a whole row at every change of state.

Revision: 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _new_tables()
    _new_columns()
    _bodies()
    _past_attempts()
    if op.get_bind().dialect.name == "sqlite":
        _enforced_by_sqlite()
    else:
        _enforced_by_postgres()


def _new_tables() -> None:
    id_type = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    when = sa.DateTime(timezone=True)
    op.create_table(
        "attempts",
        sa.Column("id", id_type, nullable=False),
        sa.Column("message_id", id_type, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", when, nullable=False),
        sa.Column("ended_at", when, nullable=True),
        sa.Column("phase", sa.String(20), server_default="", nullable=False),
        sa.Column("outcome", sa.String(20), server_default="", nullable=False),
        sa.Column("reply", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_attempts_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("message_id", "number", name=op.f("uq_attempts_message_id_number")),
    )
    op.create_table(
        "suppressions",
        sa.Column("address_hash", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(80), nullable=False),
        sa.Column("at", when, nullable=False),
        sa.PrimaryKeyConstraint("address_hash", name=op.f("pk_suppressions")),
    )
    op.create_table(
        "bounces",
        sa.Column("id", id_type, nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("received_at", when, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("status", sa.String(20), server_default="", nullable=False),
        sa.Column("message_id", id_type, nullable=True),
        sa.Column("subscriber_id", id_type, nullable=True),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_bounces_message_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscribers.id"],
            name=op.f("fk_bounces_subscriber_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bounces")),
        sa.UniqueConstraint("content_hash", name=op.f("uq_bounces_content_hash")),
    )
    op.create_index(op.f("ix_bounces_message_id"), "bounces", ["message_id"])
    op.create_index(op.f("ix_bounces_subscriber_id"), "bounces", ["subscriber_id"])
    op.create_table(
        "paces",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("at", when, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_paces")),
    )
    op.create_table(
        "holds",
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", when, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_holds")),
    )
    op.create_table(
        "journals",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("generation", sa.String(40), nullable=False),
        sa.Column("begun_at", when, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_journals")),
    )


def _new_columns() -> None:
    for column in (
        sa.Column("weekdays", sa.Integer(), server_default="127", nullable=False),
        sa.Column("paused_until", sa.Date(), nullable=True),
        sa.Column("score_floor", sa.Float(), nullable=True),
        sa.Column("size", sa.Integer(), nullable=True),
        sa.Column("recap", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("explores", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("community", sa.Float(), server_default="1", nullable=False),
    ):
        op.add_column("subscribers", column)
    op.add_column(
        "messages", sa.Column("crashes", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column("messages", sa.Column("doubted_at", sa.DateTime(timezone=True), nullable=True))


def _bodies() -> None:
    id_type = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "bodies",
        sa.Column("message_id", id_type, autoincrement=False, nullable=False),
        sa.Column("mime", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_bodies_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_bodies")),
    )
    op.execute(
        "INSERT INTO bodies (message_id, mime) SELECT id, mime FROM messages WHERE mime IS NOT NULL"
    )
    op.drop_column("messages", "mime")


def _past_attempts() -> None:
    """Write down the attempts that were only counted until now, so that the books balance."""
    op.execute(
        "UPDATE messages SET last_reply = 'taken, in words that were not kept'"
        " WHERE state = 'sent' AND last_reply = ''"
    )
    op.execute("UPDATE messages SET doubted_at = updated_at WHERE state = 'in_doubt'")
    op.execute("""
        WITH RECURSIVE numbers(number) AS (
            SELECT 1 UNION ALL
            SELECT number + 1 FROM numbers
            WHERE number < (SELECT coalesce(max(lease_epoch), 0) FROM messages)
        ), past AS (
            SELECT m.id, n.number, m.updated_at, m.last_reply, m.lease_epoch,
                CASE
                    WHEN n.number = m.lease_epoch AND m.state IN ('claimed', 'in_doubt') THEN ''
                    WHEN n.number = m.lease_epoch AND m.state IN ('sent', 'failed', 'deferred')
                        THEN m.state
                    WHEN n.number <= m.resends THEN 'resent'
                    WHEN n.number <= m.resends + m.lease_epoch - m.attempts THEN 'broken'
                    WHEN n.number = m.lease_epoch THEN 'stopped'
                    ELSE 'deferred'
                END AS outcome
            FROM messages m JOIN numbers n ON n.number <= m.lease_epoch
        )
        INSERT INTO attempts (message_id, number, started_at, ended_at, phase, outcome, reply)
        SELECT id, number, updated_at, CASE WHEN outcome = '' THEN NULL ELSE updated_at END,
            CASE outcome WHEN '' THEN '' ELSE 'in_doubt' END, outcome,
            CASE outcome WHEN '' THEN '' ELSE last_reply END
        FROM past ORDER BY id, number
    """)


def _enforced_by_sqlite() -> None:
    # Which state may follow which, as the outbox had it when this was written.
    op.execute("""
        CREATE TRIGGER messages_keep_to_their_ways BEFORE UPDATE OF state ON messages
        WHEN OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (VALUES
            ('planned', 'rendered'), ('planned', 'skipped'), ('planned', 'cancelled'),
            ('planned', 'failed'), ('rendered', 'claimed'), ('rendered', 'cancelled'),
            ('rendered', 'failed'), ('claimed', 'in_doubt'), ('claimed', 'cancelled'),
            ('claimed', 'deferred'), ('claimed', 'failed'), ('claimed', 'rendered'),
            ('in_doubt', 'sent'), ('in_doubt', 'deferred'), ('in_doubt', 'failed'),
            ('in_doubt', 'held'), ('in_doubt', 'rendered'), ('deferred', 'rendered'),
            ('deferred', 'claimed'), ('deferred', 'failed'), ('deferred', 'cancelled'),
            ('held', 'sent'), ('held', 'rendered'), ('held', 'cancelled')
        )
        BEGIN SELECT RAISE(ABORT, 'a message may not go from the one state to the other'); END
    """)
    op.execute("""
        CREATE TRIGGER messages_that_were_sent_stay BEFORE UPDATE ON messages
        WHEN OLD.state = 'sent'
        BEGIN SELECT RAISE(ABORT, 'a message that was sent may not be changed'); END
    """)
    op.execute("""
        CREATE TRIGGER bodies_are_frozen BEFORE UPDATE ON bodies
        BEGIN SELECT RAISE(ABORT, 'the bytes of a message may not be changed'); END
    """)


def _enforced_by_postgres() -> None:
    op.execute("""
        CREATE FUNCTION messages_keep_to_their_ways() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF OLD.state = 'sent' THEN
                RAISE EXCEPTION 'a message that was sent may not be changed'
                USING ERRCODE = 'check_violation';
            END IF;
            IF OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (
            ('planned', 'rendered'), ('planned', 'skipped'), ('planned', 'cancelled'),
            ('planned', 'failed'), ('rendered', 'claimed'), ('rendered', 'cancelled'),
            ('rendered', 'failed'), ('claimed', 'in_doubt'), ('claimed', 'cancelled'),
            ('claimed', 'deferred'), ('claimed', 'failed'), ('claimed', 'rendered'),
            ('in_doubt', 'sent'), ('in_doubt', 'deferred'), ('in_doubt', 'failed'),
            ('in_doubt', 'held'), ('in_doubt', 'rendered'), ('deferred', 'rendered'),
            ('deferred', 'claimed'), ('deferred', 'failed'), ('deferred', 'cancelled'),
            ('held', 'sent'), ('held', 'rendered'), ('held', 'cancelled')
        ) THEN
                RAISE EXCEPTION 'a message may not go from the one state to the other'
                USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE FUNCTION bodies_are_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'the bytes of a message may not be changed'
            USING ERRCODE = 'check_violation';
        END $$
    """)
    op.execute("""
        CREATE TRIGGER messages_keep_to_their_ways BEFORE UPDATE ON messages
        FOR EACH ROW EXECUTE FUNCTION messages_keep_to_their_ways()
    """)
    op.execute("""
        CREATE TRIGGER bodies_are_frozen BEFORE UPDATE ON bodies
        FOR EACH ROW EXECUTE FUNCTION bodies_are_frozen()
    """)


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward: restore the back-up instead")
