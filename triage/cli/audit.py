"""`triage audit`"""

from __future__ import annotations

import json

import click

from triage.cli.app_context import json_option, opened, show

NEWEST = 14
FEW = 20


@click.command("audit")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Prove that every digest that was due is accounted for, once.

    Ends with 1 and the ids if something does not balance, and says what to do.
    """
    from triage.delivery.audit import audit

    app = opened(ctx)
    found = audit(app.database, app.journal)
    if as_json:
        told = {
            "balanced": found.is_balanced,
            "days": [{"on": on.isoformat()} | counts for on, counts in found.days.items()],
            "faults": [{"what": f.what, "ids": f.ids, "do": f.do} for f in found.faults],
            "resends": found.resends,
        }
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        newest = list(found.days.items())[-NEWEST:]
        states = list(dict.fromkeys(name for _, counts in newest for name in counts))
        rows = [
            {"on": on} | {name: counts.get(name, 0) for name in states} for on, counts in newest
        ]
        show(rows, as_json=False, empty="no digests yet")
        if found.resends:
            click.echo(f"{found.resends} sent again, for nobody knew whether they had arrived")
        for fault in found.faults:
            click.echo(f"\n{len(fault.ids)} {fault.what}:", err=True)
            for id in fault.ids[:FEW]:
                click.echo(f"  {id}", err=True)
            if len(fault.ids) > FEW:
                click.echo("  … `--json` names all", err=True)
            click.echo(f"  {fault.do}", err=True)
        if found.is_balanced:
            click.echo("every digest that was due is accounted for")
    if not found.is_balanced:
        ctx.exit(1)
