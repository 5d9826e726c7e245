"""``audience-export doctor``: every dependency and setting, and what to do about it."""
