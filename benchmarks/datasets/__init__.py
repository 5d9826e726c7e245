"""Data sets for the measurements."""
