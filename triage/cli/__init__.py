"""The command line: `triage NOUN VERB`, one module for each noun.

In: arguments, options, and the path of the config file. Out: calls to `app`, printed rows, an exit
status. A command's module is imported when the command is called, so `--help` answers at once.

Begin with the table `COMMANDS` below. `app_context` has what the commands share, `demo/` is
`triage demo`.
"""

from __future__ import annotations

import importlib
import os
import sys

import click

from triage import __version__
from triage.errors import TriageError

COMMANDS = {
    "demo": ("triage.cli.demo.command", "Show the whole loop on bundled papers."),
    "init": ("triage.cli.init", "Write a config file and secrets, and make the database."),
    "doctor": ("triage.cli.doctor", "Check everything that a digest needs."),
    "audit": ("triage.cli.audit", "Prove that every digest that was due is accounted for."),
    "db": ("triage.cli.db", "Upgrade, check, copy and restore the database."),
    "papers": ("triage.cli.papers", "Import papers from files, and show one."),
    "search": ("triage.cli.search", "Find papers by words and meaning."),
    "similar": ("triage.cli.similar", "Find papers like given ones."),
    "subscriber": ("triage.cli.subscriber", "Add, list, pause and erase subscribers."),
    "run": ("triage.cli.run", "Make and send the digests of one date."),
    "serve": ("triage.cli.serve", "Serve the pages, and fetch, send and train on schedule."),
    "schedule": (
        "triage.cli.schedule",
        "Fetch, send, retrain and back up on schedule, without pages.",
    ),
    "fetch": ("triage.cli.fetch", "Read what is new from the sources."),
    "digest": ("triage.cli.digest", "Preview, show and list digests."),
    "outbox": ("triage.cli.outbox", "List and send waiting messages."),
    "mail": ("triage.cli.mail", "Send a test mail."),
    "bounces": ("triage.cli.bounces", "Read returned mail, and stop mail to bad addresses."),
    "feedback": ("triage.cli.feedback", "List, import and export votes."),
    "train": ("triage.cli.train", "Train a new ranker; it is used only if it is better."),
    "model": ("triage.cli.model", "List, show, promote and roll back models."),
    "bench": ("triage.cli.bench", "Measure the ranker on given data."),
    "evaluate": ("triage.cli.evaluate", "Replay past days: would another scorer rank better?"),
    "report": ("triage.cli.report", "Write health and quality as one HTML page."),
}


class _LazyGroup(click.Group):
    """Lists the commands of the table above, and imports the one that is called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[name][0]).command
        assert isinstance(command, click.Command)  # noqa: S101 - a test checks all of them
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="triage")
@click.option(
    "--config",
    type=click.Path(dir_okay=False),
    envvar="TRIAGE_CONFIG",
    default="triage.toml",
    show_default=True,
    show_envvar=True,
    help="The config file.",
)
@click.pass_context
def cli(ctx: click.Context, config: str) -> None:
    """Personal paper digests by mail, ranked by what each subscriber votes for.

    Exit status: 0 done, 1 failed, 2 wrong usage or config, 3 partly done.
    """
    ctx.obj = config


def main() -> None:
    """Run the command line, and print each TriageError as one line."""
    # The matrix products of one day are so small that a second thread only waits, and waiting costs
    # as much CPU time. NumPy reads this when it is loaded. Large jobs set more threads themselves.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        cli(prog_name="triage")
    except TriageError as error:
        click.echo(f"triage: {error}", err=True)
        sys.exit(error.exit_code)
