"""Reads libraries in many formats, and lists, as entries of one form. Begin with `entries`."""
