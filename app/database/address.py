"""Addresses of PostgreSQL, read as libpq reads them, for asyncpg.

asyncpg sends every parameter that it does not know to the server as a setting, which
refuses the login. Here each parameter of libpq has its treatment
(PostgreSQL manual, "Database Connection Control Functions").
"""

import configparser
import os
import random
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

from app.errors import SettingsInvalid

URI = re.compile(
    r"postgres(?:ql)?://"
    r"(?:(?P<user>[^@/:]*)(?::(?P<password>[^@/]*))?@)?"
    r"(?P<hosts>[^/?]*)(?:/(?P<dbname>[^?]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)
PAIRS = re.compile(r"\s*\w+\s*=")
"""The other form that psql takes; URIs say the same, and every tool here reads them."""

HOST = re.compile(r"(?:\[(?P<ipv6>[^\]]+)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[^:]*))?")
OPTION = re.compile(r"(?:\\.|[^\s\\])+")

Host = tuple[str | None, int | None]
"""A host or socket folder, and a port; ``None`` is asyncpg's default."""


class ParameterUse(Enum):
    """What becomes of a parameter."""

    ARGUMENT = auto()
    """An argument of ``asyncpg.connect``."""

    TLS = auto()
    """asyncpg reads it from an address only."""

    HONOURED = auto()
    """Honoured in this module."""

    UNVERIFIED = auto()
    """A demand on the server that asyncpg cannot verify; ``doctor`` warns of it."""

    IGNORED = auto()
    """A preference without a meaning for asyncpg."""


PARAMETERS = (
    dict.fromkeys(("user", "password", "passfile", "krbsrvname", "gsslib"), ParameterUse.ARGUMENT)
    | dict.fromkeys(
        (
            *("sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl"),
            *("sslnegotiation", "ssl_min_protocol_version", "ssl_max_protocol_version"),
        ),
        ParameterUse.TLS,
    )
    | dict.fromkeys(
        (
            *("host", "hostaddr", "port", "dbname", "service", "servicefile"),
            *("connect_timeout", "options", "application_name", "target_session_attrs"),
            *("load_balance_hosts", "keepalives", "keepalives_idle", "keepalives_interval"),
            *("keepalives_count", "tcp_user_timeout", "channel_binding", "gssencmode"),
            *("replication", "requiressl"),
        ),
        ParameterUse.HONOURED,
    )
    | dict.fromkeys(("require_auth", "requirepeer", "sslcrldir"), ParameterUse.UNVERIFIED)
    | dict.fromkeys(
        (
            *("client_encoding", "fallback_application_name", "gssdelegation", "sslcertmode"),
            *("sslcompression", "sslsni", "sslkeylogfile", "min_protocol_version"),
            *("max_protocol_version", "scram_client_key", "scram_server_key", "oauth_issuer"),
            *("oauth_client_id", "oauth_client_secret", "oauth_scope"),
        ),
        ParameterUse.IGNORED,
    )
)

CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer"),  # asyncpg cannot encrypt with GSSAPI
    "replication": ("false", "off", "no", "0"),
    "load_balance_hosts": ("disable", "random"),
    "target_session_attrs": (
        *("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    ),
}

NUMBERS = (
    *("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval"),
    *("keepalives_count", "tcp_user_timeout"),
)

SOCKET_OPTIONS = {
    "keepalives_idle": "TCP_KEEPIDLE",
    "keepalives_interval": "TCP_KEEPINTVL",
    "keepalives_count": "TCP_KEEPCNT",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
}

SYSTEM = "system"
"""``sslrootcert=system``: the authorities that the machine trusts."""

VERIFIED = "verify-full"


@dataclass(frozen=True)
class Address:
    """One address, as arguments for asyncpg.

    ``arguments`` lack host and port, see :meth:`tries`. ``settings`` are those that
    the parameter ``options`` sets; ``options`` is what else it held.
    ``connect_timeout_s`` is for each host; ``None`` where the address names none.
    ``unverified`` names demands on the server that nobody verifies.
    """

    hosts: list[Host]
    arguments: dict[str, Any] = field(repr=False)
    settings: dict[str, str]
    options: str
    application_name: str | None
    connect_timeout_s: float | None
    session_attributes: str
    is_balanced: bool
    keepalives: dict[str, int]
    unverified: list[str]

    def tries(self) -> Iterator[tuple[str, Host]]:
        """Yield each ``target_session_attrs`` and host to try, in order."""
        hosts = random.sample(self.hosts, len(self.hosts)) if self.is_balanced else self.hosts
        prefers = self.session_attributes == "prefer-standby"
        for attributes in ("standby", "any") if prefers else (self.session_attributes,):
            for host in hosts:
                yield attributes, host

    def set_keepalives(self, connected: socket.socket) -> None:
        """Set what the address says of keepalive packets; they are on by default."""
        if connected.family == socket.AF_UNIX:
            return
        is_on = self.keepalives.get("keepalives", 1) != 0
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(is_on))
        for name, constant in SOCKET_OPTIONS.items():
            value, option = self.keepalives.get(name, 0), getattr(socket, constant, None)
            if is_on and value > 0 and option is not None:
                connected.setsockopt(socket.IPPROTO_TCP, option, value)


def parse_address(url: str) -> Address:
    """Return what a libpq URI says.

    Raises:
        SettingsInvalid: psql would refuse it, or it demands what asyncpg cannot do.
            The text names parameters, and never a value.
    """
    given = _from_uri(url)
    hosts = _hosts(given)
    _check(given)
    # In this order: what the address says takes precedence over the service, as in libpq.
    given = _from_service(given) | given
    if "service" in given:
        hosts = _hosts(given)
        _check(given)
    numbers = {name: int(given[name]) for name in NUMBERS if name in given}
    settings, options = _split_options(given.get("options", ""))
    return Address(
        hosts=hosts,
        arguments=_arguments(given),
        settings=settings,
        options=options,
        application_name=given.get("application_name"),
        connect_timeout_s=max(numbers.get("connect_timeout", 0), 0) or None,
        session_attributes=given.get("target_session_attrs", "any"),
        is_balanced=given.get("load_balance_hosts") == "random",
        keepalives=numbers,
        unverified=_unverified(given),
    )


def _from_uri(url: str) -> dict[str, str]:
    """Return the parameters of a URI that are not empty."""
    parts = URI.fullmatch(url.strip())
    if parts is None and PAIRS.match(url):
        raise SettingsInvalid(
            "is a list of name=value pairs: write it as postgresql://user:password@host:5432/database"
        )
    if parts is None:
        raise SettingsInvalid("must be an address such as postgresql://host:5432/database")
    found = [HOST.fullmatch(each) for each in parts["hosts"].split(",")]
    hosts = [each for each in found if each]
    if len(hosts) < len(found):
        raise SettingsInvalid("a host in it is malformed: is the password percent-encoded?")
    given = {name: unquote(parts[name] or "") for name in ("user", "password", "dbname")}
    given["host"] = ",".join(unquote(each["ipv6"] or each["name"] or "") for each in hosts)
    given["port"] = ",".join(unquote(each["port"] or "") for each in hosts)
    for pair in filter(None, (parts["query"] or "").split("&")):
        name, separator, value = pair.partition("=")
        if not separator:
            raise SettingsInvalid("a parameter in it has no value")
        given |= _canonical(unquote(name), unquote(value))
    return {name: value for name, value in given.items() if value.strip(",")}


def _canonical(name: str, value: str) -> dict[str, str]:
    """Translate ``ssl=true``, which libpq takes in addresses for JDBC's sake."""
    if (name, value) in (("ssl", "true"), ("requiressl", "1")):
        return {"sslmode": "require"}
    return {name: value}


def _from_service(given: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters of the named service (manual, "The Connection Service File")."""
    service = given.get("service")
    if service is None:
        return {}
    own = given.get("servicefile") or os.environ.get("PGSERVICEFILE") or "~/.pg_service.conf"
    folder = os.environ.get("PGSYSCONFDIR", "/etc/postgresql-common")
    for file in (Path(own).expanduser(), Path(folder, "pg_service.conf")):
        # Without interpolation: a password may contain %.
        services = configparser.ConfigParser(interpolation=None)
        try:
            services.read(file)
        except configparser.Error:
            raise SettingsInvalid("the service file is malformed") from None  # it quotes the line
        if services.has_section(service):
            return {name: value for name, value in services[service].items() if value}
    raise SettingsInvalid("no service file defines its service")


def _check(given: Mapping[str, str]) -> None:
    for name in given:
        if name not in PARAMETERS:
            raise SettingsInvalid(f"libpq has no parameter {name!r}")
    for name, choices in CHOICES.items():
        if given.get(name, choices[0]) not in choices:
            raise SettingsInvalid(f"{name} must be one of {', '.join(choices)}")
    for name in NUMBERS:
        if re.fullmatch(r"\s*[+-]?\d{1,9}\s*", given.get(name, "0"), re.ASCII) is None:
            raise SettingsInvalid(f"{name} must be a whole number")
    if given.get("sslrootcert") == SYSTEM and given.get("sslmode", VERIFIED) != VERIFIED:
        raise SettingsInvalid("sslrootcert=system needs sslmode=verify-full")
    if given.get("channel_binding") == "require" and given.get("sslmode") == "disable":
        raise SettingsInvalid("channel_binding=require needs TLS, and sslmode=disable forbids it")


def _hosts(given: Mapping[str, str]) -> list[Host]:
    """Return the hosts; ``hostaddr`` stands in for names where no certificate is compared."""
    hosts = given.get("host", "").split(",")
    addresses = given.get("hostaddr", "").split(",")
    if any(addresses) and not (any(hosts) and given.get("sslmode") == VERIFIED):
        hosts = addresses
    ports = given.get("port", "").split(",")
    if len(ports) not in (1, len(hosts)):
        raise SettingsInvalid("it has another number of ports than of hosts")
    if any(not re.fullmatch(r"\d{0,5}", port, re.ASCII) for port in ports):
        raise SettingsInvalid("a port in it is no number: is the password percent-encoded?")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    return [
        (host or None, int(port) if port else None) for host, port in zip(hosts, ports, strict=True)
    ]


def _arguments(given: Mapping[str, str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        name: value for name, value in given.items() if PARAMETERS[name] is ParameterUse.ARGUMENT
    }
    if "dbname" in given:
        arguments["database"] = given["dbname"]
    tls = {name: value for name, value in given.items() if PARAMETERS[name] is ParameterUse.TLS}
    root = tls.get("sslrootcert") or os.environ.get("PGSSLROOTCERT")
    if root == SYSTEM:
        is_direct = tls.get("sslnegotiation") == "direct"
        return arguments | {"ssl": _system_context(tls), "direct_tls": is_direct}
    if given.get("channel_binding") == "require":
        # asyncpg has no channel binding, and its default would accept a connection without TLS.
        tls = {"sslmode": "require"} | tls
        if tls["sslmode"] in ("allow", "prefer"):
            tls["sslmode"] = "require"
    if tls:
        arguments["dsn"] = f"postgresql://?{urlencode(tls, quote_via=quote)}"
    return arguments


def _system_context(tls: Mapping[str, str]) -> ssl.SSLContext:
    """Return the context that verifies the server by the machine's authorities.

    Raises:
        SettingsInvalid: a file that the address names cannot be read.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if "sslcert" in tls:
            password = tls.get("sslpassword", "")
            # A callable even without a passphrase: OpenSSL would ask for one on the terminal.
            context.load_cert_chain(tls["sslcert"], tls.get("sslkey"), lambda: password)
        if "sslcrl" in tls:
            context.load_verify_locations(tls["sslcrl"])
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    except OSError as error:
        raise SettingsInvalid("a certificate file that it names cannot be read") from error
    # PostgreSQL refuses direct TLS without it.
    context.set_alpn_protocols(["postgresql"])
    return context


def _split_options(text: str) -> tuple[dict[str, str], str]:
    """Return the settings in ``options``, ``-c name=value`` or ``--name=value``, and the rest."""
    settings: dict[str, str] = {}
    rest: list[str] = []
    words = iter(OPTION.findall(text))
    for word in words:
        if word.startswith("-c"):
            word = f"--{word[2:] or next(words, '')}"
        name, separator, value = word[2:].partition("=")
        if word.startswith("--") and separator:
            settings[name.replace("-", "_").lower()] = re.sub(r"\\(.)", r"\1", value)
        else:
            rest.append(word)
    return settings, " ".join(rest)


def _unverified(given: Mapping[str, str]) -> list[str]:
    names = [name for name in given if PARAMETERS[name] is ParameterUse.UNVERIFIED]
    is_bound = given.get("channel_binding") == "require"
    is_verified = given.get("sslmode") == VERIFIED or given.get("sslrootcert") == SYSTEM
    return names + (["channel_binding"] if is_bound and not is_verified else [])
