"""The settings, from environment variables and ``.env``."""

import re
from contextlib import suppress
from email.utils import parseaddr
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.database.address import parse_address
from app.email_addresses import with_ascii_domain
from app.errors import SettingsInvalid
from app.observability.logs import LogFormat, LogLevel
from app.ports import Lane

SIGV4_LIFETIME_MAX_S = 604_800
"""The maximum validity of a presigned URL: 7 days (AWS Signature Version 4)."""

SECRET_BYTES_MIN = 32
"""The minimum length of an HS256 key: that of the hash (RFC 7518, section 3.2)."""

MIB = 1024 * 1024

BEGIN_STREAMS = 2
"""Where ``EXPORT_STREAMS`` is unset: how many streams a list is begun with."""

GROWN_STREAMS = 8
"""Where ``EXPORT_STREAMS`` is unset: how many streams a large export has at most."""

PORT_MAX = 65_535

DEFAULT_PORTS = {"http": 80, "https": 443}

ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>[\w.-]+|\[[0-9a-f:.]+\])(:(?P<port>\d{1,5}))?", re.IGNORECASE
)

ADDRESS = re.compile(r"""("[^"]+"|[^\s@"<>(),:;]+)@[^\s@"<>(),:;]+""")

Network = IPv4Network | IPv6Network


def database_address(value: str | None) -> str | None:
    """Return an address of PostgreSQL as it is.

    Raises:
        ValueError: psql would refuse it.
    """
    try:
        if value is not None:
            parse_address(value)
    except SettingsInvalid as error:
        raise ValueError(str(error)) from error
    return value


def _secrets(value: SecretStr | None) -> list[bytes]:
    if value is None:
        return []
    return [part.strip().encode() for part in value.get_secret_value().split(",") if part.strip()]


def _check_mailbox(value: str) -> None:
    """Raise unless a value is one address, alone or as ``Name <address>``.

    Raises:
        ValueError: it is none, or more, or the domain has no ASCII form.
    """
    address = parseaddr(value)[1]
    is_whole = value.strip() == address or value.strip().endswith(f"<{address}>")
    if not (is_whole and value.isprintable() and ADDRESS.fullmatch(address)):
        raise ValueError("must be an e-mail address, or Name <address>")
    with_ascii_domain(address)


def _http_parts(value: str) -> SplitResult:
    """Return the parts of a URL.

    Raises:
        ValueError: it is no http or https URL with a host. The message has no part of it.
    """
    with suppress(ValueError):
        parts = urlsplit(value)
        # Reading the port raises where it is no number.
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    raise ValueError("must be an http or https URL")


def _origin(value: str) -> str:
    """Return an origin as browsers serialize it (RFC 6454, section 6.2).

    Raises:
        ValueError: ``value`` is no origin but a pattern, ``null``, or a URL with path or login.
    """
    parts = ORIGIN.fullmatch(value)
    if parts is None or int(parts["port"] or 0) > PORT_MAX:
        raise ValueError("must be origins such as https://shop.example, without path or pattern")
    scheme, host, port = parts["scheme"].lower(), parts["host"].lower(), parts["port"]
    is_default = port is None or int(port) == DEFAULT_PORTS[scheme]
    if not host.isascii():
        host = host.encode("idna").decode()
    return f"{scheme}://{host}" + ("" if is_default else f":{int(port)}")


class Settings(BaseSettings):
    """The service's settings, from the environment and, in development, ``.env``.

    Variables have the fields' names in capitals; an empty value means unset.
    Names in ``_s`` are seconds. Credentials of the object store come from
    boto's own chain. Neither ``repr`` nor errors show a value that may contain
    a secret. ``docs/settings.md`` explains each setting.

    Raises:
        pydantic.ValidationError: a required setting is missing, or one is invalid.
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
    s3_addressing_style: Literal["path", "virtual", "auto"] | None = None
    s3_sse: str | None = Field(default=None, pattern=r"^(AES256|aws:kms(:\S+)?)$")
    s3_payload_signing: bool = False
    smtp_url: SecretStr
    mail_from: str
    mail_reply_to: str | None = None
    mail_templates_dir: Path | None = None
    brand_name: str | None = Field(default=None, max_length=100)
    notify_email: str | None = None
    notify_above_rows: int | None = Field(default=None, ge=0)
    smtp_helo_name: str | None = Field(default=None, pattern=r"^[!-~]+$", max_length=255)
    public_url: str | None = None
    link_secret: SecretStr | None = None
    link_lifetime_s: int = Field(default=SIGV4_LIFETIME_MAX_S, ge=60)
    auth_jwt_secret: SecretStr | None = None
    auth_jwks_url: str | None = Field(default=None, repr=False)
    auth_audience: str = "audience-export"
    auth_issuer: str | None = None
    # NoDecode: written with commas, and not as the JSON that pydantic-settings reads lists from.
    cors_origins: Annotated[list[str], NoDecode] = []
    demo: bool = False
    mailbox_dir: Path | None = None
    docs_enabled: bool = False
    webhook_allowed_networks: Annotated[list[Network], NoDecode] = []
    audit_retention_days: int | None = Field(default=None, ge=1, le=36_500)
    log_format: LogFormat | None = None
    log_level: LogLevel = "info"
    otel_exporter_otlp_endpoint: str | None = None

    worker_metrics_port: int | None = Field(default=None, ge=1, le=65_535)
    worker_metrics_host: str = "127.0.0.1"
    export_streams: int | None = Field(default=None, ge=1, le=16)
    worker_concurrency: int = Field(default=4, ge=1, le=100)
    worker_lanes: Annotated[tuple[Lane, ...], NoDecode, Field(min_length=1)] = get_args(Lane)
    large_export_concurrency: int = Field(default=1, ge=1, le=100)
    # S3 refuses smaller parts, but for the last.
    part_bytes: int = Field(default=5 * MIB, ge=5 * MIB)
    parts_in_flight: int = Field(default=3, ge=1, le=16)
    max_active_exports_per_seller: int = Field(default=5, ge=1)
    max_exports_per_seller_per_hour: int = Field(default=20, ge=1)
    max_queued_exports: int = Field(default=10_000, ge=1)

    lease_s: float = Field(default=30, gt=0)
    heartbeat_s: float = Field(default=1, gt=0)
    recovery_interval_s: float = Field(default=5, gt=0)
    cleanup_interval_s: float = Field(default=3600, gt=0)
    orphan_min_age_s: float = Field(default=3600, ge=0)
    replica_wait_s: float = Field(default=5, ge=0, le=30)
    stall_timeout_s: float = Field(default=60, gt=0)
    export_timeout_s: float = Field(default=14_400, gt=0)
    retry_max_age_s: float = Field(default=3600, ge=0)
    retry_base_s: float = Field(default=1, gt=0)
    retry_max_s: float = Field(default=60, gt=0)
    max_failures: int = Field(default=8, ge=1)
    mail_lease_s: float = Field(default=60, gt=0)
    mail_retry_base_s: float = Field(default=10, gt=0)
    mail_retry_max_s: float = Field(default=1800, gt=0)
    mail_retry_max_age_s: float = Field(default=86_400, gt=0)
    mail_answer_timeout_s: float = Field(default=600, gt=0)
    mail_unanswered_retry_s: float = Field(default=3600, gt=0)
    record_timeout_s: float = Field(default=300, gt=0)
    shutdown_timeout_s: float = Field(default=8, gt=0)

    @field_validator("database_url", "audience_database_url")
    @classmethod
    def _database_address(cls, value: str | None) -> str | None:
        return database_address(value)

    @field_validator("webhook_allowed_networks", mode="before")
    @classmethod
    def _split_networks(cls, value: object) -> object:
        if isinstance(value, str):
            return [network.strip() for network in value.split(",") if network.strip()]
        return value

    @field_validator("worker_lanes", mode="before")
    @classmethod
    def _split_lanes(cls, value: object) -> object:
        """Accept the lanes in any order and letters, separated by commas."""
        if not isinstance(value, str):
            return value
        named = {lane.strip().lower() for lane in value.split(",") if lane.strip()}
        if unknown := named - set(get_args(Lane)):
            raise ValueError(f"must be small, large or both, not {', '.join(sorted(unknown))}")
        return tuple(lane for lane in get_args(Lane) if lane in named)

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        if isinstance(value, str):
            return [origin.strip().rstrip("/") for origin in value.split(",") if origin.strip()]
        return value

    @field_validator("cors_origins")
    @classmethod
    def _only_origins(cls, value: list[str]) -> list[str]:
        return [_origin(each) for each in value]

    @field_validator("log_format", "log_level", "s3_addressing_style", mode="before")
    @classmethod
    def _small_letters(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("mail_from", "mail_reply_to", "notify_email")
    @classmethod
    def _one_mailbox(cls, value: str | None) -> str | None:
        if value is not None:
            _check_mailbox(value)
        return value

    @field_validator("brand_name")
    @classmethod
    def _one_line(cls, value: str | None) -> str | None:
        if value is not None and not value.isprintable():
            raise ValueError("must be one line of printable characters")
        return value

    @field_validator(
        "public_url", "s3_endpoint_url", "s3_public_endpoint_url", "otel_exporter_otlp_endpoint"
    )
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = _http_parts(value)
        if parts.query or parts.fragment:
            raise ValueError("must be an http or https URL without a query")
        return value.rstrip("/")

    @field_validator("auth_jwks_url")
    @classmethod
    def _jwks_url(cls, value: str | None) -> str | None:
        if value is not None:
            _http_parts(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not (self.jwt_secrets or self.auth_jwks_url):
            raise ValueError("AUTH_JWT_SECRET or AUTH_JWKS_URL is required: tokens need a key")
        if any(len(secret) < SECRET_BYTES_MIN for secret in self.jwt_secrets):
            raise ValueError(f"AUTH_JWT_SECRET must be {SECRET_BYTES_MIN} bytes or more")
        if any(len(secret) < SECRET_BYTES_MIN for secret in self.link_secrets):
            raise ValueError(f"LINK_SECRET must be {SECRET_BYTES_MIN} bytes or more")
        if self.public_url and not self.link_secrets:
            raise ValueError("PUBLIC_URL requires LINK_SECRET, which signs the mailed links")
        if (self.notify_email is None) is not (self.notify_above_rows is None):
            raise ValueError("NOTIFY_EMAIL and NOTIFY_ABOVE_ROWS need each other: set both or none")
        if not self.public_url and self.link_lifetime_s > SIGV4_LIFETIME_MAX_S:
            raise ValueError(
                f"without PUBLIC_URL, LINK_LIFETIME_S is at most {SIGV4_LIFETIME_MAX_S}"
            )
        return self

    @property
    def last_attempt_after_s(self) -> float:
        """After this long since its first attempt began, an export is not attempted again.

        The attempt under way goes on: an export ends within this and ``export_timeout_s``.
        """
        return self.export_timeout_s + self.retry_max_age_s

    @property
    def export_streams_max(self) -> int:
        """How many streams a large export has at most."""
        return self.export_streams or GROWN_STREAMS

    @property
    def audience_pool_size(self) -> int:
        """Half of the connections that a process opens to the database that exports read.

        Where ``EXPORT_STREAMS`` is unset, only exports of the large lane grow above two streams.
        """
        if self.export_streams is not None:
            return self.worker_concurrency * self.export_streams
        further = self.large_export_concurrency * (GROWN_STREAMS - BEGIN_STREAMS)
        return self.worker_concurrency * BEGIN_STREAMS + further

    @cached_property
    def jwt_secrets(self) -> list[bytes]:
        """The keys of HS256 tokens: all verify, so that a key can be rotated."""
        return _secrets(self.auth_jwt_secret)

    @cached_property
    def link_secrets(self) -> list[bytes]:
        """The keys of mailed links: the first one signs, all verify."""
        return _secrets(self.link_secret)


def settings_from_environment() -> Settings:
    """Return the settings.

    Raises:
        SystemExit: a setting is missing or invalid. The message lists settings and
            reasons but no values, since some are secrets.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = "\n".join(f"  {_setting(problem)}{problem['msg']}" for problem in error.errors())
        raise SystemExit(f"Invalid settings:\n{problems}") from None


def _setting(problem: Any) -> str:
    # Not problem["input"], which is the value, in spite of `hide_input_in_errors`.
    return "".join(f"{str(part).upper()}: " for part in problem["loc"])
