"""Crossref and Semantic Scholar: venues, citations, summaries and ids of stored papers."""
