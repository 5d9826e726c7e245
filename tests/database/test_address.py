"""Addresses as psql takes them: none of libpq's parameters reaches the server as a setting."""

import ctypes
import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from app.database.address import PARAMETERS, parse_address
from app.database.connections import Connection, connect
from app.errors import DatabaseUnavailable, SettingsInvalid
from devstack.certificates import issue
from devstack.pgbouncer import PgBouncer
from devstack.postgres import PROGRAMS, WHEEL, PostgresServer, installed
from devstack.sandbox import Sandbox
from tests.security.test_tls import tls_before

HARMLESS = {
    "application_name": "a shop's list",
    "channel_binding": "prefer",
    "client_encoding": "auto",
    "connect_timeout": "10",
    "fallback_application_name": "shop",
    "gssdelegation": "0",
    "gssencmode": "prefer",
    "gsslib": "gssapi",
    "keepalives": "1",
    "keepalives_count": "3",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "krbsrvname": "postgres",
    "load_balance_hosts": "random",
    "max_protocol_version": "3.0",
    "min_protocol_version": "3.0",
    "options": "-c work_mem=5MB --geqo=off",
    "passfile": "/nowhere",
    "replication": "false",
    "require_auth": "scram-sha-256",
    "ssl_max_protocol_version": "TLSv1.3",
    "ssl_min_protocol_version": "TLSv1.2",
    "sslcertmode": "allow",
    "sslcompression": "0",
    "sslcrldir": "/nowhere",
    "sslmode": "prefer",
    "sslnegotiation": "postgres",
    "sslsni": "1",
    "target_session_attrs": "read-write",
    "tcp_user_timeout": "10000",
}
"""A value of each parameter with which psql still gets into a server without TLS."""


async def shown(url: str, setting: str) -> str:
    """Return what a setting is in a session at an address."""
    connection = await connect(url)
    try:
        value: str = await connection.fetchval("SELECT current_setting($1)", setting)
        return value
    finally:
        await connection.close()


def with_parameters(url: str, **parameters: str) -> str:
    return f"{url}?" + "&".join(f"{name}={quote(value)}" for name, value in parameters.items())


@pytest.mark.parametrize("name", HARMLESS)
async def test_each_parameter_of_libpq_is_taken(database_url: str, name: str) -> None:
    url = with_parameters(database_url, **{name: HARMLESS[name]})
    assert await shown(url, "server_encoding") == "UTF8"


async def test_all_of_them_together_are_taken_by_psql_and_by_us(
    postgres: PostgresServer, database_url: str
) -> None:
    url = with_parameters(database_url, **HARMLESS)
    psql = HARMLESS | {"sslcrldir": "", "passfile": ""}
    postgres._run("psql", "-Xc", "SELECT 1", with_parameters(database_url, **psql))
    assert await shown(url, "application_name") == "a shop's list"
    assert await shown(url, "work_mem") == "5MB"
    assert await shown(url, "geqo") == "off"


class ConnectionOption(ctypes.Structure):
    """libpq's ``PQconninfoOption``."""

    _fields_ = (
        ("keyword", ctypes.c_char_p),
        ("others", ctypes.c_char_p * 5),
        ("width", ctypes.c_int),
    )


def test_every_parameter_of_this_libpq_has_its_treatment() -> None:
    (library,) = (installed(WHEEL) / PROGRAMS.parent / "lib").glob("libpq.so.5")
    libpq = ctypes.CDLL(str(library))
    libpq.PQconndefaults.restype = ctypes.POINTER(ConnectionOption)
    options = itertools.takewhile(lambda each: each.keyword, libpq.PQconndefaults())
    names = {each.keyword.decode() for each in options} - {"authtype"}
    assert len(names) > 40
    assert names - PARAMETERS.keys() == set()


async def test_our_limits_win_over_the_options(database_url: str) -> None:
    options = "-c search_path=nowhere -cTimeZone=Europe/Berlin --statement-timeout=1"
    url = with_parameters(database_url, options=options)
    assert await shown(url, "search_path") == "public"
    assert await shown(url, "timezone") == "UTC"
    assert await shown(url, "statement_timeout") == "35s"


@pytest.fixture
def occupied() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        yield silent.getsockname()[1]


async def test_the_next_host_is_tried_after_a_silent_one(database_url: str, occupied: int) -> None:
    parts = urlsplit(database_url)
    hosts = f"127.0.0.1:9,[::1]:9,127.0.0.1:{occupied},{parts.hostname}:{parts.port}"
    credentials = parts.netloc.rpartition("@")[0]
    url = f"postgres://{credentials}@{hosts}{parts.path}?connect_timeout=1"
    assert await shown(url, "server_encoding") == "UTF8"


async def test_hosts_and_ports_may_be_parameters(database_url: str) -> None:
    parts = urlsplit(database_url)
    url = (
        f"postgresql:///?user={parts.username}&password={parts.password}&dbname={parts.path[1:]}"
        f"&host=127.0.0.1,localhost&port=9,{parts.port}&hostaddr=127.0.0.1,127.0.0.1"
    )
    assert await shown(url, "server_encoding") == "UTF8"


async def test_a_missing_standby_fails_where_it_is_required_and_not_where_it_is_preferred(
    database_url: str,
) -> None:
    with pytest.raises(DatabaseUnavailable):
        await connect(with_parameters(database_url, target_session_attrs="standby"))
    url = with_parameters(database_url, target_session_attrs="prefer-standby")
    assert await shown(url, "server_encoding") == "UTF8"


async def test_a_service_names_what_the_address_does_not(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = urlsplit(database_url)
    file = tmp_path / "services"
    file.write_text(
        f"[shop]\nhost={parts.hostname}\nport={parts.port}\nuser={parts.username}\n"
        f"password={parts.password}\ndbname=nowhere\nconnect_timeout=5\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    url = f"postgresql://{parts.path}?service=shop"
    assert await shown(url, "server_encoding") == "UTF8"
    with pytest.raises(SettingsInvalid, match="service"):
        parse_address("postgresql:///?service=another")


async def test_a_password_comes_from_the_file_that_the_address_names(
    database_url: str, tmp_path: Path
) -> None:
    parts = urlsplit(database_url)
    file = tmp_path / "passwords"
    file.write_text(f"*:*:*:*:{parts.password}\n")
    file.chmod(0o600)
    url = database_url.replace(f":{parts.password}@", "@")
    assert await shown(with_parameters(url, passfile=str(file)), "server_encoding") == "UTF8"


@pytest.fixture
async def tuned(database_url: str) -> AsyncIterator[Connection]:
    """A connection whose keepalives the address sets."""
    url = with_parameters(database_url, keepalives_idle="41", tcp_user_timeout="9000")
    connection = await connect(url)
    yield connection
    await connection.close()


async def test_keepalives_are_set(tuned: Connection) -> None:
    connected = tuned._transport.get_extra_info("socket")
    assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 41
    assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 9000


async def test_the_machine_s_authorities_verify_the_server(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = issue(tmp_path)
    async with tls_before(database_url, certificate, asks_first=True) as port:
        url = database_url.replace(f":{urlsplit(database_url).port}/", f":{port}/")
        url = with_parameters(url, sslrootcert="system", channel_binding="require")
        with pytest.raises(DatabaseUnavailable) as refused:
            await connect(url)
        assert isinstance(refused.value.__cause__, ssl.SSLCertVerificationError)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
        assert await shown(url, "server_encoding") == "UTF8"


async def test_channel_binding_asks_for_tls(database_url: str) -> None:
    with pytest.raises(DatabaseUnavailable):
        await connect(with_parameters(database_url, channel_binding="require"))


@pytest.mark.pgbouncer
async def test_options_reach_the_server_through_a_pooler(
    sandbox: Sandbox, postgres: PostgresServer, database_url: str
) -> None:
    bouncer = PgBouncer(sandbox, postgres, name="pgbouncer-options")
    bouncer.start()
    url = bouncer.url(database_url.rpartition("/")[2])
    connection = await connect(with_parameters(url, options="-c geqo=off -c work_mem=5MB"))
    assert "set_config('work_mem', '5MB', true)" in connection.local_limits
    await connection.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("host=127.0.0.1 password=hush dbname=shop", "name=value pairs: write it as postgresql://"),
        ("mysql://127.0.0.1/shop", "postgresql://"),
        ("postgresql://h/shop?pgbouncer=true", "'pgbouncer'"),
        ("postgresql://h/shop?sslmode=sometimes", "sslmode must be one of disable"),
        ("postgresql://h/shop?gssencmode=require", "gssencmode"),
        ("postgresql://h/shop?replication=database", "replication"),
        ("postgresql://h/shop?sslmode=require&sslrootcert=system", "verify-full"),
        ("postgresql://h/shop?connect_timeout=soon", "connect_timeout"),
        ("postgresql://h:1,h:2,h:3/shop?port=1,2", "ports"),
        ("postgresql://owner:hush/hush@h/shop", "percent-encoded"),
        ("postgresql://owner:hush[1]@h:x/shop", "percent-encoded"),
        ("postgresql://h/shop?sslmode", "no value"),
    ],
)
def test_what_psql_refuses_is_refused_in_a_sentence(url: str, words: str) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        parse_address(url)
    assert words in str(refused.value)
    assert "hush" not in str(refused.value)


def test_an_address_is_decoded_as_libpq_does() -> None:
    address = parse_address(
        "postgresql://own%40er:h%23u?s:h[@%2Frun%2Fpostgresql,[fe80::1]:6432/a%20b"
        "?sslcert=/a+b&sslpassword=a%26b"
    )
    assert address.hosts == [("/run/postgresql", None), ("fe80::1", 6432)]
    assert address.arguments["user"] == "own@er"
    assert address.arguments["password"] == "h#u?s:h["
    assert address.arguments["database"] == "a b"
    assert address.arguments["dsn"] == "postgresql://?sslcert=%2Fa%2Bb&sslpassword=a%26b"
