"""``audience-export``: the operator's command line."""
