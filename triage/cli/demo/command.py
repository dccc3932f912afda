"""`triage demo`"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from triage.cli.app_context import log_to_stderr


@click.command("demo")
def command() -> None:
    """Show the whole loop on bundled papers: digests, votes, training, better digests.

    Needs no config and no network. Writes ./var/demo, which it makes anew, and ends by itself.
    """
    from triage.cli.demo.story import play

    log_to_stderr(logging.ERROR)
    play(Path("var") / "demo", click.echo, program=sys.argv[0])
