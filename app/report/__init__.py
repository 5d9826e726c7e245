"""The statistics for people: a page of plots, and the same in a terminal."""
