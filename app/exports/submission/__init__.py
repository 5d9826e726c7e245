"""1. Submission: the request, its admission, the row."""
