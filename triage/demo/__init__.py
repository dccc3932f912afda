"""Real papers for `triage demo`; their origin stands in ORIGIN.md."""
