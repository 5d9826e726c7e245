"""Settings: everything that may differ between two installations."""

from email.utils import parseaddr
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.logs import LogFormat, LogLevel

SIGV4_LIFETIME_MAX_S = 604_800
"""The longest a presigned URL may live (AWS, Signature Version 4 query parameters)."""

SECRET_BYTES_MIN = 32
"""RFC 7518, section 3.2: an HS256 key is at least as long as the hash."""

MIB = 1024 * 1024

Network = IPv4Network | IPv6Network


def _secrets(value: SecretStr | None) -> list[bytes]:
    if value is None:
        return []
    return [part.strip().encode() for part in value.get_secret_value().split(",") if part.strip()]


class Settings(BaseSettings):
    """The service's settings, from the environment and, in development, ``.env``.

    Names in the environment are the field names in capitals. An empty value
    means unset. Credentials of the object store come from boto's own chain.
    No ``repr`` and no error holds a value that is, or may carry, a secret.

    Raises:
        pydantic.ValidationError: a required setting is missing or one is unfit.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    database_url: str = Field(repr=False)
    audience_database_url: str | None = Field(default=None, repr=False)
    database_pool_size: int = Field(default=10, ge=1)
    redis_url: str = Field(repr=False)
    s3_bucket: str
    s3_prefix: str = "exports/"
    s3_endpoint_url: str | None = None
    s3_public_endpoint_url: str | None = None
    s3_sse: str | None = Field(default=None, pattern=r"^(AES256|aws:kms(:\S+)?)$")
    s3_sign_bodies: bool = False
    smtp_url: SecretStr
    mail_from: str
    mail_reply_to: str | None = None
    public_url: str | None = None
    link_secret: SecretStr | None = None
    link_lifetime_s: int = Field(default=SIGV4_LIFETIME_MAX_S, ge=60)
    auth_jwt_secret: SecretStr | None = None
    auth_jwks_url: str | None = Field(default=None, repr=False)
    auth_audience: str = "audience-export"
    auth_issuer: str | None = None
    cors_origins: Annotated[list[str], NoDecode] = []
    demo: bool = False
    mailbox_dir: Path | None = None
    docs_enabled: bool = False
    webhook_allowed_networks: Annotated[list[Network], NoDecode] = []
    log_format: LogFormat | None = None
    log_level: LogLevel = "info"
    otel_exporter_otlp_endpoint: str | None = None

    worker_metrics_port: int | None = Field(default=None, ge=1, le=65_535)
    worker_metrics_host: str = "127.0.0.1"
    export_streams: int = Field(default=2, ge=1, le=16)
    worker_concurrency: int = Field(default=4, ge=1, le=100)
    large_exports: int = Field(default=1, ge=1, le=100)
    part_bytes: int = Field(default=5 * MIB, ge=5 * MIB)
    parts_in_flight: int = Field(default=3, ge=1, le=16)
    max_active_exports_per_seller: int = Field(default=5, ge=1)
    max_exports_per_seller_per_hour: int = Field(default=20, ge=1)
    max_queued_exports: int = Field(default=10_000, ge=1)

    lease_s: float = Field(default=30, gt=0)
    heartbeat_s: float = Field(default=1, gt=0)
    sweep_s: float = Field(default=5, gt=0)
    tidy_s: float = Field(default=3600, gt=0)
    orphan_age_s: float = Field(default=3600, ge=0)
    replica_wait_s: float = Field(default=5, ge=0, le=30)
    stall_timeout_s: float = Field(default=60, gt=0)
    export_timeout_s: float = Field(default=14_400, gt=0)
    retry_for_s: float = Field(default=3600, ge=0)
    retry_base_s: float = Field(default=1, gt=0)
    retry_max_s: float = Field(default=60, gt=0)
    max_failures: int = Field(default=8, ge=1)
    mail_lease_s: float = Field(default=60, gt=0)
    mail_retry_base_s: float = Field(default=10, gt=0)
    mail_retry_max_s: float = Field(default=1800, gt=0)
    mail_give_up_s: float = Field(default=86_400, gt=0)
    record_timeout_s: float = Field(default=300, gt=0)
    shutdown_s: float = Field(default=8, gt=0)

    @field_validator("webhook_allowed_networks", mode="before")
    @classmethod
    def _split_networks(cls, value: object) -> object:
        if isinstance(value, str):
            return [network.strip() for network in value.split(",") if network.strip()]
        return value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        if isinstance(value, str):
            return [origin.strip().rstrip("/") for origin in value.split(",") if origin.strip()]
        return value

    @field_validator("log_format", "log_level", mode="before")
    @classmethod
    def _small_letters(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("mail_from", "mail_reply_to")
    @classmethod
    def _one_mailbox(cls, value: str | None) -> str | None:
        if value is not None and "@" not in parseaddr(value)[1]:
            raise ValueError("must be an address, or Name <address>")
        return value

    @field_validator(
        "public_url", "s3_endpoint_url", "s3_public_endpoint_url", "otel_exporter_otlp_endpoint"
    )
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if urlsplit(value).scheme not in ("http", "https"):
            raise ValueError("must be an http or https address")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not (self.auth_jwt_secret or self.auth_jwks_url):
            raise ValueError("set AUTH_JWT_SECRET or AUTH_JWKS_URL: there is no default key")
        if any(len(secret) < SECRET_BYTES_MIN for secret in self.jwt_secrets):
            raise ValueError(f"AUTH_JWT_SECRET must be {SECRET_BYTES_MIN} bytes or more")
        if any(len(secret) < SECRET_BYTES_MIN for secret in self.link_secrets):
            raise ValueError(f"LINK_SECRET must be {SECRET_BYTES_MIN} bytes or more")
        if self.public_url and not self.link_secrets:
            raise ValueError("PUBLIC_URL needs LINK_SECRET, which signs the mailed links")
        if not self.public_url and self.link_lifetime_s > SIGV4_LIFETIME_MAX_S:
            raise ValueError(
                f"without PUBLIC_URL, LINK_LIFETIME_S is at most {SIGV4_LIFETIME_MAX_S}"
            )
        return self

    @cached_property
    def jwt_secrets(self) -> list[bytes]:
        """The keys that callers' HS256 tokens may be signed with, newest first."""
        return _secrets(self.auth_jwt_secret)

    @cached_property
    def link_secrets(self) -> list[bytes]:
        """The keys of mailed links: the first signs, all verify."""
        return _secrets(self.link_secret)


def settings_from_environment() -> Settings:
    """Return the settings, or end the process and say what is wrong with them.

    The message names settings and rules, never a value: some are secrets.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = "\n".join(f"  {_name(fault)}{fault['msg']}" for fault in error.errors())
        raise SystemExit(f"The settings are not fit to start with:\n{faults}") from None


def _name(fault: Any) -> str:
    return "".join(f"{str(part).upper()}: " for part in fault["loc"])
