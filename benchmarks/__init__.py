"""Benchmarks: this service beside what others would write, in one run on one machine."""
