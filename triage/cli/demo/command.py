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

    Needs no config and no network. Deletes ./var/demo and writes it again.
    """
    from triage.cli.demo.story import play

    log_to_stderr(logging.ERROR)
    is_module = Path(sys.argv[0]).name == "__main__.py"
    program = "python -m triage" if is_module else sys.argv[0]
    play(Path("var") / "demo", click.echo, program)
