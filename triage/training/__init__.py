"""Makes a new ranker from feedback and decides whether it is used.

In: logged impressions and events. Out: a trained ranker with its model card, and a decision.

Begin with `train`. `labels` turns votes into relevance and weights, `position_bias` estimates which
positions are read, `dataset` and `past_days` make examples of likes, `promotion_test` compares with
the active ranker. `evaluation/` replays past days and computes metrics.
"""
