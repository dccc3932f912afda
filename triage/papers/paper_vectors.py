"""The encoder in use and the index of its papers' vectors, for all searches of a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

import numpy as np
import structlog

from triage import store
from triage.domain.protocols import Encoder
from triage.domain.records import F32, I64
from triage.errors import DatabaseError, ModelError
from triage.papers import vector_file
from triage.papers.vector_index import Nearest
from triage.store import Connection, Database
from triage.store.engine.file_system import network_file_system

log = structlog.get_logger()

LoadEncoder = Callable[[str], Encoder]

# So many vectors are read from the database in a tenth of a second; more are mapped from a file.
_MOST_READ: Final = 10_000
# A new encoder serves when the papers are encoded up to about the newest one.
_NEARLY: Final = 1_000
_EVERY_S: Final = 60.0
# How long a search waits while a server loads; then it finds by words only.
_PATIENCE_S: Final = 0.5


class PaperVectors:
    """Loads the active encoder and the index of its vectors, and the vectors of new papers.

    An index of many vectors is mapped from a file, see `vector_file`. If the file is missing, not
    of this database or much too old, it is made anew. The vector of a paper whose text changed gets
    into it then, at the latest with the next encoder.

    Args:
        load_encoder: loads an encoder by its version; without it there is none.
        folder: for the file; without it, or on a network file system, all vectors are in memory.
    """

    def __init__(
        self, database: Database, load_encoder: LoadEncoder | None, folder: Path | None
    ) -> None:
        self._database = database
        self._load_encoder = load_encoder
        self._folder = None if folder is None or network_file_system(folder) else folder
        self._one_loads = Lock()
        self._is_kept = False
        self._was_loaded = Event()
        self._ready: tuple[Encoder | None, Nearest] = None, Nearest()
        # The newest paper whose vector is in the file.
        self._newest_in_file = 0

    def current(self, conn: Connection) -> tuple[Encoder | None, Nearest]:
        """Return the active encoder, if one can be loaded, and the index of its vectors."""
        if self._is_kept:
            self._was_loaded.wait(_PATIENCE_S)
        else:
            with self._one_loads:
                self._renew(conn)
        return self._ready

    def keep(self, stopped: Event) -> Thread:
        """Load all in a thread, bring it up to date each minute until `stopped` is set; return it.

        Searches then do not do this themselves.
        """
        self._is_kept = True
        thread = Thread(target=self._keep, args=(stopped,), daemon=True, name="paper vectors")
        thread.start()
        return thread

    def _keep(self, stopped: Event) -> None:
        while not stopped.is_set():
            with suppress(DatabaseError), self._database.read() as conn:
                self._renew(conn)
            encoder, _ = self._ready
            if not self._was_loaded.is_set():
                if encoder is not None:
                    # The first text takes long.
                    encoder.encode([""])
                self._was_loaded.set()
                self._check_file()
            stopped.wait(_EVERY_S)

    def _check_file(self) -> None:
        encoder, _ = self._ready
        if encoder is None or self._folder is None or not self._newest_in_file:
            return
        if not vector_file.is_intact(self._folder, encoder.version):
            log.warning("the file of vectors is damaged and is made anew", folder=self._folder)
            self._ready = encoder, self._write_file(self._folder, encoder.version)

    def _renew(self, conn: Connection) -> None:
        encoder = self._active_encoder(conn)
        if encoder is None:
            self._ready = None, Nearest()
            return
        before, nearest = self._ready
        version = encoder.version
        if before is None or before.version != version:
            enough = nearest.newest - _NEARLY
            if before is not None and not len(store.search.vectors(conn, version, enough, 1)[0]):
                return
            nearest = self._map_file(conn, version)
        if self._folder is not None and (
            store.search.count_vectors(conn, version, self._newest_in_file) > _MOST_READ
        ):
            nearest = self._write_file(self._folder, version)
        for ids, vectors in _chunks(conn, version, nearest.newest):
            nearest.add(ids, vectors)
        self._ready = encoder, nearest

    def _active_encoder(self, conn: Connection) -> Encoder | None:
        if self._load_encoder is None:
            return None
        served = [pair.encoder_version for pair in store.model_versions.history(conn)]
        for version in dict.fromkeys(served):
            with suppress(ModelError):
                return self._load_encoder(version)
        return None

    def _map_file(self, conn: Connection, version: str) -> Nearest:
        """Return the index in the file; it is empty if there is none, or one of other papers.

        After the database was restored, the file has papers that the database lost.
        """
        blocks = vector_file.map_blocks(self._folder, version) if self._folder else []
        nearest = Nearest(blocks)
        self._newest_in_file = newest = nearest.newest
        if newest:
            stored = Nearest()
            stored.add(*store.search.vectors(conn, version, newest - 1, 1))
            last = np.array([newest])
            if not np.array_equal(nearest.vectors(last), stored.vectors(last)):
                self._newest_in_file = 0
                return Nearest()
        return nearest

    def _write_file(self, folder: Path, version: str) -> Nearest:
        """Write all vectors into the file and return it; without it, return an empty index."""
        with self._database.read() as conn:
            n = store.search.count_vectors(conn, version, 0)
            try:
                vector_file.write(folder, version, n, _chunks(conn, version, 0))
            except OSError as error:
                log.warning("vectors stay in memory: no file can be written", error=str(error))
                self._folder = None
                return Nearest()
            return self._map_file(conn, version)


def _chunks(conn: Connection, version: str, after: int) -> Iterator[tuple[I64, F32]]:
    """Yield ids above `after` and their vectors, up to vector_file.BLOCK at once."""
    while True:
        ids, vectors = store.search.vectors(conn, version, after, vector_file.BLOCK)
        if len(ids):
            yield ids, vectors
        if len(ids) < vector_file.BLOCK:
            return
        after = int(ids[-1])
