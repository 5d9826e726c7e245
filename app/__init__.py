"""Audience exports: one clean CSV of the people a seller knows."""
