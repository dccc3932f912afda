"""Where papers come from: arXiv, bioRxiv and medRxiv, Hugging Face, feeds, Zotero, and files.

In: a cursor and the answers of a server, or a file. Out: batches of `FetchedPaper` and rejected
records, the next cursor, and a verdict for each day of the source.

Begin with `hf_daily`, the shortest source; `arxiv/` is the largest. `http/` holds the HTTP client
that all share, `text/` cleans titles and abstracts, `files/` reads files of papers, and
`enrichers/` add venues and citations to papers that are already stored.
"""
