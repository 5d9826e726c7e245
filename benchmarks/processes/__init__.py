"""Programs that run in a separate process while they are measured."""
