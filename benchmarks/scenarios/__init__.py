"""The scenarios, each with its figures."""
