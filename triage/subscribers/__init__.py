"""People: who receives digests, what they like, and what they say.

In: sign-ups, preferences, libraries, votes. Out: stored subscribers, events, exports.

Begin with `subscriptions` (add, pause, suppress) and `votes` (feedback). `signup` is the double
opt-in from the pages, `library_import` turns a bibliography into likes.
"""
