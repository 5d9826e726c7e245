"""The name by which this service introduces itself to a mail server (EHLO)."""

import ipaddress
from email.utils import parseaddr
from urllib.parse import urlsplit

from app.config import Settings
from app.email_addresses import ascii_domain


def helo_name(settings: Settings) -> str:
    """Return ``SMTP_HELO_NAME``, else the domain of ``PUBLIC_URL``, else that of ``MAIL_FROM``.

    Not the machine's own name: in a container it is the container's id, which mail servers
    refuse. An IP address becomes an address literal (RFC 5321, section 4.1.3).
    """
    if settings.smtp_helo_name is not None:
        return settings.smtp_helo_name
    if settings.public_url is not None and (host := urlsplit(settings.public_url).hostname):
        return _as_literal(host) or ascii_domain(host)
    return ascii_domain(parseaddr(settings.mail_from)[1].rpartition("@")[2])


def _as_literal(host: str) -> str | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"
