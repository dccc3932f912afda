"""The HTTP client of all sources: spacing, retries, size and time limits, no private addresses."""
