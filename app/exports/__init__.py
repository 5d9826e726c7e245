"""Exports: requested, run, delivered, erased."""
