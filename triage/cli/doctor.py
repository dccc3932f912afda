"""`triage doctor`"""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from triage.cli.app_context import json_option, load_app, show


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Check everything that a digest needs, and say how to repair what is wrong.

    Sends one request to each enabled source, and connects to the mail server. Changes nothing and
    sends no mail. Exits with 1 if a result is red.
    """
    from triage.operations.doctor import Level, exit_code

    findings = load_app().run_doctor()
    rows = [{k: v for k, v in asdict(f).items() if k != "exit_code"} for f in findings]
    if as_json:
        show(rows, as_json=True)
    else:
        show([{k: row[k] for k in ("name", "level", "what")} for row in rows], as_json=False)
        for finding in findings:
            if finding.fix:
                click.echo(f"\n{finding.name}: {finding.what}\n  fix: {finding.fix}")
        n_red = sum(finding.level is Level.RED for finding in findings)
        n_warnings = sum(finding.level is Level.WARNING for finding in findings)
        click.echo(f"\n{n_red} red, {n_warnings} warnings, {len(findings)} looked at")
    sys.exit(exit_code(findings))
