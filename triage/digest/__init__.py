"""The nightly run: a slate for each subscriber who is due, rendered and queued.

In: stored papers and subscribers. Out: slates, impressions and frozen messages in the outbox.

Begin with `nightly`. `render` fills the templates, `message` builds the MIME message,
`source_report` words what the sources lacked.
"""
