"""What Crossref and Semantic Scholar know about papers that are already stored."""
