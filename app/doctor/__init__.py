"""``audience-export doctor``: checks of every dependency and setting, with advice."""
