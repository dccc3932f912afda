"""Scores papers for a subscriber, chooses those of a digest, and says why.

In: papers, votes, interests. Out: vectors, feature rows, scores, a slate with reasons. Only
`serving/` reads the database.

The order of the data: `encoder/` (text to vectors), `candidates`, `user_model` and
`interest_clusters` (one subscriber's likes), `features`, `lambdamart` or `cold_start`
(scores), `slate` (the choice), `evidence` and `explanations` (the reasons). `serving/` does all of
this for stored subscribers. Begin with `serving/ranker`.
"""
