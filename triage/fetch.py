"""Reads what is new from every live source; one that fails does not hold up the others."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from triage.errors import DatabaseError, SourceError
from triage.ingest import ingest
from triage.ports import Clock, Progress, Source, silent
from triage.store import Database

log = structlog.get_logger()


def fetch(
    database: Database, sources: Sequence[Source], clock: Clock, progress: Progress = silent
) -> list[str]:
    """Go on with every source from where it was read to; return in words what failed."""
    problems = []
    for source in sources:
        log.info("fetch", source=source.name)
        try:
            for report in ingest(database, source, clock, resume=True):
                progress(f"fetch {source.name}", report.read, 0)
        except SourceError as error:
            log.warning("source failed", source=source.name, error=str(error))
            problems.append(f"source {source.name}: {error}")
        except DatabaseError:
            raise
        except Exception as error:
            # An answer that no parser was ready for must not cost the subscribers their digests.
            log.exception("source broken", source=source.name)
            problems.append(f"source {source.name}: {type(error).__name__}, see the log")
    return problems
