"""`triage demo`: two days with three subscribers on bundled papers. Begin with `story`."""
