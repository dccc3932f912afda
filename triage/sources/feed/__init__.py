"""Any RSS, Atom or JSON feed."""
