"""`triage audit`"""

from __future__ import annotations

import sys

import click

from triage.cli.app_context import json_option, load_app, print_json, show

N_DAYS = 14
N_IDS = 20


@click.command("audit")
@json_option
def command(as_json: bool) -> None:
    """Prove that every digest that was due is accounted for, once.

    If something does not balance, or an active subscriber can get no digest, prints who or what it
    is and what to do, and exits with 1.
    """
    from triage.delivery.audit import audit

    app = load_app()
    report = audit(app.database, app.sent_log)
    if as_json:
        print_json(
            {
                "balanced": report.is_balanced,
                "days": [{"on": on} | counts for on, counts in report.days.items()],
                "faults": [{"what": f.what, "ids": f.ids, "do": f.do} for f in report.faults],
                "resends": report.resends,
                "requested": report.requested,
                "left_out": [
                    {"subscriber": email, "why": why} for email, why in report.left_out.items()
                ],
            }
        )
    else:
        newest = list(report.days.items())[-N_DAYS:]
        states = dict.fromkeys([name for _, counts in newest for name in counts], 0)
        rows = [{"on": on, **states, **counts} for on, counts in newest]
        show(rows, as_json=False, empty="no digests yet")
        if report.resends:
            click.echo(f"{report.resends} sent again: it was unknown whether they had arrived")
        if report.requested:
            click.echo(f"{report.requested} sent once more by `triage digest resend`")
        for fault in report.faults:
            click.echo(f"\n{len(fault.ids)} {fault.what}:", err=True)
            for id in fault.ids[:N_IDS]:
                click.echo(f"  {id}", err=True)
            if len(fault.ids) > N_IDS:
                click.echo("  … `--json` shows all", err=True)
            click.echo(f"  {fault.do}", err=True)
        if report.left_out:
            click.echo(f"\n{len(report.left_out)} active subscribers get no digests:", err=True)
            for email, why in report.left_out.items():
                click.echo(f"  {email}: {why}", err=True)
            click.echo("  mend them, or erase them with `triage subscriber erase`", err=True)
        elif report.is_balanced:
            click.echo("every digest that was due is accounted for")
    if report.left_out or not report.is_balanced:
        sys.exit(1)
