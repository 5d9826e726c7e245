"""Embedded real servers for the demo, tests and benchmarks. Not part of the service."""
