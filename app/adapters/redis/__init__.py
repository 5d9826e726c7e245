"""Redis: the job queue, worker wake-ups and export events."""
