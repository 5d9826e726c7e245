"""Alternative implementations, each run in a separate process."""
