"""`python -m triage` is `triage`."""

from __future__ import annotations

from triage.cli import main

# A process made for heavy work imports this, too.
if __name__ == "__main__":
    main()
