"""Cleaning of text from outside: TeX, HTML, entities, JSON and XML within limits."""
