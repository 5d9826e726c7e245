"""The service's settings for a stack of embedded servers."""

import secrets
from collections.abc import Mapping
from typing import Any

from app.config import Settings
from devstack.s3 import REGION, Store

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
MAIL_FROM = "Audience Export <exports@example.com>"


def setting_names() -> list[str]:
    """Return the names of the service's environment variables, without boto's."""
    return [name.upper() for name in Settings.model_fields]


def with_defaults(own: Mapping[str, str], outside: Mapping[str, str]) -> dict[str, str]:
    """Return every setting, from ``outside``, else ``own``, else the service's default.

    ``outside`` is the shell's environment, ``own`` the embedded stack's values.
    An empty value means unset. The two keys of the object store are taken
    from one place. boto's other variables (a profile, a session token) are taken
    from ``outside`` only together with its store or keys, so that a
    developer's profile does not affect an embedded store.
    """
    given = {name: value for name, value in outside.items() if value}
    settings = {
        name: given.get(name) or own.get(name) or _default(name) for name in setting_names()
    }
    keys = given if all(name in given for name in CREDENTIALS) else own
    settings |= {name: keys[name] for name in CREDENTIALS if name in keys}
    region = given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or REGION
    settings |= {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    if "S3_ENDPOINT_URL" in given or keys is given:
        settings |= {name: value for name, value in given.items() if name.startswith("AWS_")}
    return settings


def service_settings() -> dict[str, str]:
    """Return the settings that name no server: new secrets, and the demo switched on."""
    return {
        "MAIL_FROM": MAIL_FROM,
        "LINK_SECRET": secrets.token_hex(32),
        "AUTH_JWT_SECRET": secrets.token_hex(32),
        "DEMO": "1",
        "DOCS_ENABLED": "1",
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    }


def store_settings(store: Store) -> dict[str, str]:
    """Return the settings that select ``store``."""
    return {
        "S3_ENDPOINT_URL": store.endpoint_url,
        "S3_BUCKET": store.bucket,
        "AWS_ACCESS_KEY_ID": store.access_key,
        "AWS_SECRET_ACCESS_KEY": store.secret_key,
    }


def _default(name: str) -> str:
    field = Settings.model_fields[name.lower()]
    return "" if field.is_required() else _to_text(field.get_default(call_default_factory=True))


def _to_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)
