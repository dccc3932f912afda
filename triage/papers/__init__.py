"""Papers as works: records of several sources that are one work become one paper.

In: batches of fetched records, search queries. Out: stored papers, search results.

Begin with `ingest`, which stores one batch. `record_matching` decides whether two records are one
work, `deduplicate` joins and splits works, `merge_records` chooses the columns of a work. `enrich`
adds venues and citations. `search` finds papers by words and by vectors.
"""
