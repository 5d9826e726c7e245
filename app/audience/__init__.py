"""The audience: its sources, its projection and the merge an export reads."""
