"""Fixtures that ``tests/exports`` has as well."""

from tests.exports.conftest import connection as connection
from tests.exports.conftest import create_export as create_export
from tests.exports.conftest import database as database
from tests.exports.conftest import export_events as export_events
from tests.exports.conftest import exporter as exporter
from tests.exports.conftest import fast_settings as fast_settings
from tests.exports.conftest import queue as queue
from tests.exports.conftest import settings as settings
from tests.exports.conftest import storage as storage
