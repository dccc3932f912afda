"""triage: personal paper digests by mail, ranked by what each subscriber votes for."""

__version__ = "0.1.0"
