"""The service's own tables, by area, and the frozen record of one export."""

from app.models.audit import Action, export_audit
from app.models.base import metadata
from app.models.exports import (
    ACTIVE,
    CURRENT_LSN,
    EXPORT_COLUMNS,
    EXPORT_NAMES,
    STATUSES,
    Export,
    exports,
    idempotency_keys,
)
from app.models.feeds import import_totals, source_keys
from app.models.statistics import export_days, export_durations, export_seller_days
from app.models.webhooks import webhook_deliveries, webhook_endpoints

__all__ = [
    "ACTIVE",
    "CURRENT_LSN",
    "EXPORT_COLUMNS",
    "EXPORT_NAMES",
    "STATUSES",
    "Action",
    "Export",
    "export_audit",
    "export_days",
    "export_durations",
    "export_seller_days",
    "exports",
    "idempotency_keys",
    "import_totals",
    "metadata",
    "source_keys",
    "webhook_deliveries",
    "webhook_endpoints",
]
