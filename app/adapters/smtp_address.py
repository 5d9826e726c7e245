"""What ``SMTP_URL`` says: which mail server, how protected, as whom."""

import ipaddress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from app.errors import SettingsInvalid

DEFAULT_PORTS = {("smtp", False): 25, ("smtp", True): 587, ("smtps", False): 465}
"""By scheme and whether STARTTLS is asked for."""


@dataclass(frozen=True)
class SmtpAddress:
    """A mail server.

    ``implicit_tls`` speaks TLS from the first byte; ``starttls`` begins in
    the clear and must change to TLS before anything else. With neither,
    everything stays in the clear. ``user`` is ``None`` without a login.
    """

    host: str
    port: int
    implicit_tls: bool = False
    starttls: bool = False
    user: str | None = None
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read ``smtp://user:password@host:587?tls=starttls``, ``smtps://…``, ``smtp://host``.

        User and password are percent-encoded; an IPv6 host is in brackets.

        Raises:
            SettingsInvalid: it cannot be understood, or would send a password
                in the clear over a network. The text does not hold the URL.
        """
        try:
            parts = urlsplit(url.strip())
            port = parts.port
        except ValueError as error:
            raise SettingsInvalid("SMTP_URL is not an address of a mail server.") from error
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
    def is_private(self) -> bool:
        """Whether nobody else can listen: TLS, or it stays on this machine."""
        return self.implicit_tls or self.starttls or is_loopback(self.host)


def _starttls(parts: SplitResult) -> bool:
    """Return whether STARTTLS is asked for; a typing error must not mean "in the clear"."""
    asked = parse_qsl(parts.query, keep_blank_values=True)
    if asked not in ([], [("tls", "starttls")]) or parts.path not in ("", "/") or parts.fragment:
        raise SettingsInvalid("SMTP_URL may end with ?tls=starttls and nothing else.")
    return bool(asked)


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is a name or an address of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
