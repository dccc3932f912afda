"""Reads BibTeX, RIS, CSL-JSON and plain text as entries of one form. Begin with `entries`."""
