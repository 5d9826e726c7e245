"""Connections to PostgreSQL: opening, pooling, checking and discarding them."""

import time
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.database.address import Host, parse_address
from app.database.errors import AWAY, UNREACHABLE, classify_error
from app.errors import DatabaseUnavailable, SettingsInvalid
from app.tls_errors import tls_failure

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 30.0

CANCEL_S = 5.0
"""How much later than this process the server ends a statement: where the cancel was lost."""

PING_AFTER_IDLE_S = 5.0
"""Skip the liveness check for a connection used within this many seconds."""

PING_TIMEOUT_S = 5.0

IDLE_TIMEOUT_S = 5
"""A process that froze in the middle of a transaction holds its locks no longer."""

SERVER_SETTINGS = {
    "application_name": "audience-export",
    "timezone": "UTC",
    "datestyle": "ISO",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
}
"""Session settings of every connection that PgBouncer tracks, too."""

REFUSED_PARAMETER = "startup parameter"
"""What PgBouncer says of a session setting that it does not track."""

SEARCH_PATH = "public"
"""The service's schema; it takes precedence over the role's ``search_path``."""

NEXT_HOST = (
    OSError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.TargetServerAttributeNotMatched,
)
"""After these the next host of the address is tried, as libpq does."""


class Session(Connection):  # type: ignore[misc]  # asyncpg has no types
    """asyncpg's connection, and what each of its transactions must begin with.

    ``local_limits`` is empty where the session itself has our limits.
    """

    __slots__ = ("local_limits",)
    local_limits: str

    @property
    def socket(self) -> Any:
        """The connected socket."""
        return self._transport.get_extra_info("socket")


class Connector:
    """Opens sessions at one libpq address, under our own limits, not the role's.

    PostgreSQL takes them with the start-up packet, which wins over ``ALTER
    ROLE … SET`` and ``ALTER DATABASE … SET``. A pooler refuses or ignores
    them, and a ``SET`` would reach one of its server sessions only: there they
    are set again in each transaction, see
    :meth:`app.database.database.DatabaseConnection.transaction`.
    """

    def __init__(self, url: str, idle_timeout_s: int | None, **options: Any) -> None:
        options.setdefault("command_timeout", COMMAND_TIMEOUT_S)
        options.setdefault("statement_cache_size", 0)
        try:
            self._address = parse_address(url)
        except SettingsInvalid as error:
            raise SettingsInvalid(f"The database's address: {error}.") from error
        self._options = options
        own = session_limits(options["command_timeout"], idle_timeout_s)
        given = self._address.settings
        # Ours last: the address must not lift a limit.
        self._limits = {name: given[name] for name in given.keys() - SERVER_SETTINGS.keys()} | own
        self._tracked = dict(SERVER_SETTINGS)
        if self._address.application_name:
            self._tracked["application_name"] = self._address.application_name
        if self._address.options:
            self._tracked["options"] = self._address.options
        self._is_pooler = False

    async def open(self) -> Session:
        """Open a session.

        Raises:
            DatabaseUnavailable: the server cannot be reached in time, or does
                not let us in; the cause says why.
        """
        try:
            if not self._is_pooler:
                try:
                    return await self._open(self._limits | self._tracked)
                except asyncpg.PostgresError as error:
                    if REFUSED_PARAMETER not in str(error):
                        raise
                    # Remembered: otherwise each session would cost a refused connection first.
                    self._is_pooler = True
            return await self._open(self._tracked)
        except UNREACHABLE as error:
            failed = tls_failure(error)
            raise DatabaseUnavailable(f"{AWAY[:-1]}: {failed}." if failed else AWAY) from error
        except asyncpg.PostgresError as error:
            refused = DatabaseUnavailable("The database does not let the service in.")
            raise (classify_error(error) or refused) from error

    async def _open(self, server_settings: dict[str, str]) -> Session:
        session = await self._connect(server_settings)
        session.local_limits = ""
        try:
            if self._is_pooler or not await _is_direct(session):
                session.local_limits = _set_local(self._limits)
        # A cancellation, too: nobody else knows this session, and it would stay open.
        except BaseException:
            session.terminate()
            raise
        return session

    async def _connect(self, server_settings: dict[str, str]) -> Session:
        """Connect to the first host that answers, each within its own time limit."""
        failed: BaseException = asyncpg.TargetServerAttributeNotMatched()
        for attributes, host in self._address.tries():
            try:
                return await self._connect_to(host, attributes, server_settings)
            except NEXT_HOST as error:
                failed = error
        raise failed

    async def _connect_to(
        self, host: Host, attributes: str, server_settings: dict[str, str]
    ) -> Session:
        session: Session = await asyncpg.connect(
            host=host[0],
            port=host[1],
            target_session_attrs=attributes,
            timeout=self._address.connect_timeout_s or CONNECT_TIMEOUT_S,
            server_settings=server_settings,
            connection_class=Session,
            **self._address.arguments,
            **self._options,
        )
        self._address.set_keepalives(session.socket)
        return session


async def _is_direct(session: Session) -> bool:
    """Return whether this is the server's own session: a pooler may ignore our limits."""
    pid: int = await session.fetchval("SELECT pg_backend_pid()")
    own: int = session.get_server_pid()
    return pid == own


def session_limits(command_timeout_s: float | None, idle_timeout_s: int | None) -> dict[str, str]:
    """Return the limits of a session; ``None`` is no limit.

    A client that gives a statement up cancels it. ``statement_timeout`` is for
    the cancel that does not arrive.
    """
    statement_s = 0 if command_timeout_s is None else command_timeout_s + CANCEL_S
    return {
        "statement_timeout": f"{statement_s * 1000:.0f}",
        "lock_timeout": "0",
        "transaction_timeout": "0",
        "idle_session_timeout": "0",
        "idle_in_transaction_session_timeout": f"{(idle_timeout_s or 0) * 1000}",
        "default_transaction_isolation": "read committed",
        "default_transaction_deferrable": "off",
        "search_path": SEARCH_PATH,
    }


def _set_local(limits: dict[str, str]) -> str:
    """Return one statement, which SQLAlchemy's prepared ones can be, too."""
    pairs = ((_quoted(name), _quoted(value)) for name, value in limits.items())
    calls = (f"set_config({name}, {value}, true)" for name, value in pairs)
    return f"SELECT {', '.join(calls)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


async def connect(url: str, *, idle_timeout_s: int | None = None, **options: Any) -> Connection:
    """Open one asyncpg connection to a libpq address, read as psql reads it.

    Statements are not cached by name, so that a transaction-pooling PgBouncer
    may stand in between. The server ends the session when a transaction is
    left alone for ``idle_timeout_s``. ``options`` are asyncpg's.

    Raises:
        SettingsInvalid: the address is malformed.
        DatabaseUnavailable: the server cannot be reached in time, or does not
            let us in; the cause says why.
    """
    return await Connector(url, idle_timeout_s, **options).open()


def create_engine(url: str, pool_size: int) -> AsyncEngine:
    """Return an engine whose connections are made by :class:`Connector`.

    Twice ``pool_size`` at most, opened as they are needed and kept: under
    steady load, those above a smaller number would be reopened for request
    after request. Nothing is connected yet: the service starts while
    PostgreSQL is down.
    """
    connector = Connector(url, IDLE_TIMEOUT_S)

    async def creator(**_: object) -> Connection:
        return await connector.open()

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=creator,
        connect_args={
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: "",
        },
        isolation_level="READ COMMITTED",
        # Errors are logged, and parameters may be addresses of persons.
        hide_parameters=True,
        pool_size=2 * pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
        # First in, first out would spread a small load over all connections: each would be idle for
        # longer than PING_AFTER_IDLE_S, and need a ping at every use.
        pool_use_lifo=True,
    )
    event.listen(engine.sync_engine, "checkout", _replace_dead)
    event.listen(engine.sync_engine, "checkin", _note_use)
    return engine


def _replace_dead(adapted: Any, record: Any, _: object) -> None:
    """Keep a dead connection from being used, and ask only those that were idle for long.

    A server that went down closes its connections, which asyncpg sees without
    asking. SQLAlchemy's own ping costs a transaction at each use.

    Raises:
        InvalidatePoolError: the pool replaces its connections and goes on.
    """
    if adapted.driver_connection.is_closed():
        raise InvalidatePoolError
    if time.monotonic() - record.info.get("used_at", time.monotonic()) < PING_AFTER_IDLE_S:
        return
    try:
        adapted.run_async(_ping)
    except (asyncpg.PostgresError, *UNREACHABLE) as error:
        raise InvalidatePoolError from error


def _note_use(_: object, record: Any) -> None:
    if record is not None:
        record.info["used_at"] = time.monotonic()


async def _ping(connection: Connection) -> None:
    await connection.execute("SELECT", timeout=PING_TIMEOUT_S)


def local_limits(connection: Connection) -> str:
    """Return the statement that each transaction begins with; empty where none is needed."""
    return connection.local_limits if isinstance(connection, Session) else ""
