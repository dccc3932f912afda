"""The pages of subscribers about themselves.

In: requests of people who sign up, log in, or are logged in. Out: their preferences, saved papers,
digests and data, as pages, files and feeds.
"""
