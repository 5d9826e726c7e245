"""The service's own tables, by area, and the frozen record of one export."""

from app.models.audit import Action, export_audit
from app.models.base import metadata
from app.models.exports import (
    ACTIVE,
    CURRENT_LSN,
    EXPORT_COLUMN_LIST,
    EXPORT_COLUMNS,
    STATUSES,
    Export,
    exports,
    idempotency_keys,
)
from app.models.feeds import import_totals, source_keys
from app.models.file_options import DEFAULT_COLUMNS, FILE_OPTION_NAMES, FileOptions
from app.models.keys import AttemptKey, ExportKey
from app.models.notices import list_notices
from app.models.statistics import export_days, export_durations, export_seller_days
from app.models.webhooks import webhook_deliveries, webhook_endpoints
from app.models.workers import periodic_tasks, queue_starts

__all__ = [
    "ACTIVE",
    "CURRENT_LSN",
    "DEFAULT_COLUMNS",
    "EXPORT_COLUMNS",
    "EXPORT_COLUMN_LIST",
    "FILE_OPTION_NAMES",
    "STATUSES",
    "Action",
    "AttemptKey",
    "Export",
    "ExportKey",
    "FileOptions",
    "export_audit",
    "export_days",
    "export_durations",
    "export_seller_days",
    "exports",
    "idempotency_keys",
    "import_totals",
    "list_notices",
    "metadata",
    "periodic_tasks",
    "queue_starts",
    "source_keys",
    "webhook_deliveries",
    "webhook_endpoints",
]
