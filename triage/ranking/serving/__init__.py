"""Ranking for stored subscribers: votes, user models and model versions from the database.

Begin with `ranker`. `active_models` loads or fits the encoder and the scorer that are in use.
"""
