"""Subscribers, their preferences and their votes.

In: sign-ups, preferences, libraries, votes. Out: stored subscribers, events, exports.

Begin with `subscriptions` (add, pause, erase) and `votes`. `signup` is the double opt-in for the
pages; `library_import` turns a bibliography into likes.
"""
