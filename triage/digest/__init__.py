"""The nightly run: choose, render and queue a digest for each subscriber who is due.

In: stored papers and subscribers. Out: slates, impressions and finished messages in the outbox.

Begin with `nightly`. `render` fills the templates, `message` builds the MIME message, and
`source_report` describes what the sources delivered.
"""
