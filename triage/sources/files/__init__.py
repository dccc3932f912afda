"""Files of papers: JSON lines, Daily Papers pages, lists of ids. `detect` chooses the parser."""
