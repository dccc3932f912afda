"""Connections and transactions on SQLite and PostgreSQL, for the other modules of `store`."""
