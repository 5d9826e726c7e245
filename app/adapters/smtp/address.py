"""Parse ``SMTP_URL``: the mail server, its TLS mode and the login."""

import ipaddress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from app.errors import SettingsInvalid

DEFAULT_PORTS = {("smtp", False): 25, ("smtp", True): 587, ("smtps", False): 465}
"""Keyed by the scheme and whether ``?tls=starttls`` is set."""


@dataclass(frozen=True)
class SmtpAddress:
    """The address of a mail server.

    ``implicit_tls`` means TLS from the first byte; ``starttls`` that the
    session starts unencrypted and must switch to TLS before anything else is
    sent. With neither, nothing is encrypted. ``user`` is ``None`` without a login.
    """

    host: str
    port: int
    implicit_tls: bool = False
    starttls: bool = False
    user: str | None = None
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse ``smtp://user:password@host:587?tls=starttls``, ``smtps://…``, ``smtp://host``.

        User and password are percent-encoded; an IPv6 host is in brackets.

        Raises:
            SettingsInvalid: the URL is invalid, or would send a password
                unencrypted over a network. The message never contains the URL.
        """
        try:
            parts = urlsplit(url.strip())
            port = parts.port
        except ValueError as error:
            raise SettingsInvalid(
                "SMTP_URL is not a valid URL: use smtp://host:25 or smtps://host:465."
            ) from error
        starttls = _starttls(parts)
        if (parts.scheme, starttls) not in DEFAULT_PORTS or not parts.hostname:
            raise SettingsInvalid("SMTP_URL must look like smtp://host:25 or smtps://host:465.")
        address = cls(
            host=parts.hostname,
            port=port or DEFAULT_PORTS[parts.scheme, starttls],
            implicit_tls=parts.scheme == "smtps",
            starttls=starttls,
            user=None if parts.username is None else unquote(parts.username),
            password=unquote(parts.password or ""),
        )
        if address.user is not None and not address.is_private:
            raise SettingsInvalid(
                "SMTP_URL would send a password in the clear: use smtps:// or ?tls=starttls."
            )
        return address

    @property
    def secrets(self) -> tuple[str, ...]:
        """The login as AUTH sends it, for redaction: a server may repeat it in a reply.

        The last form is AUTH PLAIN's (RFC 4616).
        """
        if self.user is None:
            return ()
        return self.user, self.password, f"\0{self.user}\0{self.password}"

    @property
    def is_private(self) -> bool:
        """Whether nobody on the network can read the session: TLS, or a loopback address."""
        return self.implicit_tls or self.starttls or is_loopback(self.host)


def _starttls(parts: SplitResult) -> bool:
    """Return whether ``?tls=starttls`` is set; a misspelt parameter must not turn TLS off."""
    value = parse_qsl(parts.query, keep_blank_values=True)
    if value not in ([], [("tls", "starttls")]) or parts.path not in ("", "/") or parts.fragment:
        raise SettingsInvalid("SMTP_URL may end with ?tls=starttls and nothing else.")
    return bool(value)


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is a loopback address, or a name of one (RFC 6761, section 6.3)."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
