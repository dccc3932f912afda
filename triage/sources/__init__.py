"""Where papers come from: one module a source, text cleaned in `_text` alone."""
