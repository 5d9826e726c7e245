"""Feeds: source rows from elsewhere, in bulk from files and as events over HTTP."""
