"""A web process that is started anew whenever it was killed, as a service manager does.

`python -m tests.support.vote_server URL PORT` prints the id of each process that serves. The parent
has imported everything, so that a new one starts at once; each ends with its own parent.
"""

from __future__ import annotations

import os
import sys
import threading
import time

import uvicorn

from tests.support.web_world import SECRET, StillSite, new_enrolment
from triage.clock import SystemClock
from triage.domain.link_tokens import Keyring
from triage.store import open_database
from triage.web import create_app


def serve(url: str, port: int) -> None:
    database, clock, keyring = open_database(url), SystemClock(), Keyring(SECRET)
    site = StillSite(base_url=f"http://127.0.0.1:{port}")
    enrolment = new_enrolment(database, clock, keyring, site)
    app = create_app(database, keyring, clock, site, enrolment)
    uvicorn.run(app, port=port, access_log=False, log_level="critical")


def end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(0)


def main(url: str, port: int) -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        us, child = os.getpid(), os.fork()
        if child == 0:
            # Who reads the ids would wait for the end of all that hold the pipe.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            threading.Thread(target=end_with, args=(us,), daemon=True).start()
            try:
                serve(url, port)
            finally:
                os._exit(1)
        print(child, flush=True)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
