"""Settings that lead an adapter to one server, and nowhere else."""

from app.config import Settings
from devstack import settings as stack_settings
from devstack.s3 import Store

NOWHERE = {
    "database_url": "postgresql://127.0.0.1:9/none",
    "redis_url": "redis://127.0.0.1:9",
    "smtp_url": "smtp://127.0.0.1:9",
    "s3_bucket": "none",
}


def settings_with(**values: str | int | None) -> Settings:
    """Return fit settings of which the given ones matter."""
    service = {name.lower(): value for name, value in stack_settings.service_settings().items()}
    return Settings.model_validate({**NOWHERE, **service, **values})


def settings_for(store: Store, **values: str | int | None) -> Settings:
    """Return settings that lead to a bucket; whose keys boto takes from the environment."""
    return settings_with(
        **{"s3_bucket": store.bucket, "s3_endpoint_url": store.endpoint_url, **values}
    )
