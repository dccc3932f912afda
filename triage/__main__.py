"""`python -m triage` is `triage`."""

from __future__ import annotations

from triage.cli import main

main()
