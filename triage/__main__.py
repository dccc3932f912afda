"""`python -m triage` does the same as `triage`."""

from __future__ import annotations

from triage.cli import main

# A worker process imports this module, too, and must not start the command line.
if __name__ == "__main__":
    main()
