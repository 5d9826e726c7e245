"""Fixtures of the feeds."""

from tests.audience.conftest import connection, storefront

__all__ = ["connection", "storefront"]
