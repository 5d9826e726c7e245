"""Feeds: write source rows from files (import) and from events over HTTP."""
