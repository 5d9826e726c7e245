"""Embedded real servers for the demo, the tests and the benchmarks; no part of the service."""
