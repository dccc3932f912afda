"""Makes a new ranker from feedback and decides whether it is used.

In: logged impressions and events. Out: a trained ranker with its model card, and a decision.

Begin with `train`. `dataset` joins impressions and events, `labels` turns votes into relevance,
`position_bias` weighs positions, `promotion_test` compares with the ranker in use. `evaluation/`
replays past days and measures.
"""
