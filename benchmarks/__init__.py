"""Benchmarks: this service compared with alternatives, in one run on one machine."""
