"""The parts of the suite, each a question with its figures."""
