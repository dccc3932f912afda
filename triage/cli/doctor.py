"""`triage doctor`"""

from __future__ import annotations

from dataclasses import asdict

import click

from triage.cli.app_context import json_option, opened, show


@click.command("doctor")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Check everything that a digest needs, and say how to mend what is wrong.

    Each enabled source is asked once, and the mail server is greeted; nothing is changed and no
    mail is sent. Ends with 1 if anything is red.
    """
    from triage.operations.doctor import Level, exit_code

    findings = opened(ctx).examine()
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
    ctx.exit(exit_code(findings))
