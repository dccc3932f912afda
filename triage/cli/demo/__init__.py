"""The whole loop on real papers: digests, votes, training, and what the votes changed."""
