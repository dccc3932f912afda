"""Papers that an older program stored are the same papers after an upgrade."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from tests.databases import without_tables
from tests.factories import DAY
from tests.installation import fetched, rows, stored_papers, take_in, unnamed
from triage._assets import migrations_dir
from triage.migrate import upgrade

BEFORE = "0004"
"""The last schema that kept of a record no more than its text."""


def test_what_was_stored_before_is_known_again_and_loses_nothing(tmp_path: Path) -> None:
    with without_tables(tmp_path) as database:
        with database.write() as conn:
            config = Config()
            config.set_main_option("script_location", str(migrations_dir()))
            config.attributes["connection"] = conn
            command.upgrade(config, BEFORE)
            values = {"title": fetched(1).title, "on": DAY, "at": "2026-03-02 12:00:00"}
            for statement in (
                """
                INSERT INTO papers (source, source_id, version, title, title_key, abstract,
                    authors, categories, listed_on, upvotes, tldr, first_seen_at, updated_at)
                VALUES ('arxiv', '2603.00001', 2, :title, 'speculativedecodingwith1drafts',
                    'Old text.', '["Grace Hopper"]', '["cs.AI"]', :on, 31, 'Short.', :at, :at)
                """,
                """
                INSERT INTO paper_ids (scheme, value, paper_id)
                VALUES ('arxiv', '2603.00001', 1)
                """,
                """
                INSERT INTO paper_records (paper_id, origin, source, source_id, version,
                    listed_on, raw_title, raw_abstract, content_hash, received_at)
                VALUES (1, 'arxiv', 'arxiv', '2603.00001', 2, :on, :title, 'Old text.', 'x', :at)
                """,
            ):
                conn.execute(text(statement), values)
        upgrade(database)
        take_in(database, [unnamed(1, upvotes=40), fetched(1), fetched(1, version=3, authors=())])
        [paper] = stored_papers(database)
        assert (paper.id, paper.version, paper.upvotes) == (1, 3, 40)
        assert (paper.authors, paper.tldr) == (("Grace Hopper",), "Short.")
        assert paper.categories == ("cs.CL", "cs.AI")
        assert len(rows(database, "paper_records")) == 4
