"""Search by words: a full-text index over the papers, kept by triggers.

It holds the papers that can be found, which are those that are neither withdrawn nor merged into
others. Triggers keep it, because papers are written in several places and, on the way to another
database, by none of this program's statements.

Revision: 0008, after 0007.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _sqlite()
    else:
        _postgres()


def _sqlite() -> None:
    # Without content of its own: the texts stand in `papers`, and twice would be too much.
    op.execute("""
        CREATE VIRTUAL TABLE paper_words USING fts5(
            title, abstract, authors, categories,
            content='', tokenize='porter unicode61 remove_diacritics 2'
        )
    """)
    # A word between two names keeps the end of one and the beginning of the next apart.
    op.execute("""
        CREATE VIEW paper_texts AS SELECT
            id, title, abstract,
            (SELECT group_concat(value, ' 0 ') FROM json_each(papers.authors)) AS authors,
            (SELECT group_concat(value, ' 0 ') FROM json_each(papers.categories)) AS categories
        FROM papers WHERE merged_into IS NULL AND withdrawn_at IS NULL
    """)
    # What is taken out must be told as it was put in.
    op.execute("""
        CREATE TRIGGER papers_lose_words BEFORE UPDATE
        OF title, abstract, authors, categories, merged_into, withdrawn_at ON papers
        BEGIN
            INSERT INTO paper_words (paper_words, rowid, title, abstract, authors, categories)
            SELECT 'delete', * FROM paper_texts WHERE id = OLD.id;
        END
    """)
    op.execute("""
        CREATE TRIGGER papers_get_words AFTER UPDATE
        OF title, abstract, authors, categories, merged_into, withdrawn_at ON papers
        BEGIN
            INSERT INTO paper_words (rowid, title, abstract, authors, categories)
            SELECT * FROM paper_texts WHERE id = NEW.id;
        END
    """)
    op.execute("""
        CREATE TRIGGER papers_come_with_words AFTER INSERT ON papers
        BEGIN
            INSERT INTO paper_words (rowid, title, abstract, authors, categories)
            SELECT * FROM paper_texts WHERE id = NEW.id;
        END
    """)
    op.execute("""
        CREATE TRIGGER papers_go_with_their_words BEFORE DELETE ON papers
        BEGIN
            INSERT INTO paper_words (paper_words, rowid, title, abstract, authors, categories)
            SELECT 'delete', * FROM paper_texts WHERE id = OLD.id;
        END
    """)
    op.execute("""
        INSERT INTO paper_words (rowid, title, abstract, authors, categories)
        SELECT * FROM paper_texts ORDER BY id
    """)


def _postgres() -> None:
    op.execute("""
        CREATE TABLE paper_words (
            paper_id bigint NOT NULL CONSTRAINT pk_paper_words PRIMARY KEY
                CONSTRAINT fk_paper_words_paper_id REFERENCES papers (id) ON DELETE CASCADE,
            words tsvector NOT NULL
        )
    """)
    # No mark or hyphen makes other words of the same words, as on SQLite. The bound is far above
    # any abstract and below what a vector of words may hold.
    op.execute(r"""
        CREATE FUNCTION plain_words(said text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
            SELECT regexp_replace(normalize(regexp_replace(
                normalize(left(said, 50000), NFKD), '[\u0300-\u036f]+', '', 'g'
            ), NFC), '[!-/:-@\[-`{-~]+', ' ', 'g')
        $$
    """)
    # PostgreSQL keeps the escapes of NUL and of half characters in JSON, and makes no text of them.
    op.execute(r"""
        CREATE FUNCTION names_apart(several json) RETURNS text LANGUAGE sql IMMUTABLE AS $$
            SELECT plain_words(coalesce(string_agg(name, ' 0 '), ''))
            FROM json_array_elements_text(
                CASE json_typeof(several) WHEN 'array' THEN regexp_replace(
                    several::text, '(?<!\\)\\u(0000|d[89a-f][0-9a-f]{2})', ' ', 'gi'
                )::json ELSE '[]' END
            ) AS name
        $$
    """)
    op.execute("""
        CREATE FUNCTION words_of_paper(papers) RETURNS tsvector LANGUAGE sql IMMUTABLE AS $$
            SELECT setweight(to_tsvector('pg_catalog.english', plain_words($1.title)), 'A')
                || setweight(to_tsvector('pg_catalog.english', plain_words($1.abstract)), 'B')
                || setweight(to_tsvector('pg_catalog.simple', names_apart($1.authors)), 'C')
                || setweight(to_tsvector('pg_catalog.simple', names_apart($1.categories)), 'D')
        $$
    """)
    op.execute("""
        CREATE FUNCTION papers_can_be_found() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF new.merged_into IS NULL AND new.withdrawn_at IS NULL THEN
                INSERT INTO paper_words (paper_id, words) VALUES (new.id, words_of_paper(new))
                ON CONFLICT (paper_id) DO UPDATE SET words = excluded.words;
            ELSE
                DELETE FROM paper_words WHERE paper_id = new.id;
            END IF;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER papers_can_be_found AFTER INSERT OR UPDATE
        OF title, abstract, authors, categories, merged_into, withdrawn_at ON papers
        FOR EACH ROW EXECUTE FUNCTION papers_can_be_found()
    """)
    op.execute("""
        INSERT INTO paper_words (paper_id, words) SELECT id, words_of_paper(papers) FROM papers
        WHERE merged_into IS NULL AND withdrawn_at IS NULL
    """)
    op.execute("CREATE INDEX ix_paper_words_words ON paper_words USING gin (words)")
