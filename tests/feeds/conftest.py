"""Feeds into a database of the test's own."""

from tests.audience.conftest import connection, storefront

__all__ = ["connection", "storefront"]
