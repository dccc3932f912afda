"""Returned mail: `mailboxes` reads it, `classify` understands it, `intake` acts on it."""
