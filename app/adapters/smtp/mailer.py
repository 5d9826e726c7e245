"""The mailer: submits messages to a mail server over SMTP (RFC 5321)."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email.message import EmailMessage

from aiosmtplib import SMTP
from aiosmtplib.errors import (
    SMTPDataError,
    SMTPHeloError,
    SMTPResponseException,
    SMTPServerDisconnected,
)
from aiosmtplib.protocol import PERIOD_REGEX, normalize_message_line_endings

from app.adapters.dialing import dial
from app.adapters.smtp.address import SmtpAddress
from app.adapters.smtp.closing import close, closed_on_error, quit_and_close
from app.adapters.smtp.envelope import Envelope
from app.adapters.smtp.errors import TIME_LIMITS_S, smtp_step
from app.adapters.smtp.helo import helo_name
from app.adapters.smtp.replies import Stage
from app.config import Settings
from app.errors import MailDeferred, MailRefused
from app.ports import BeforeContent, no_check

CHECK_TIMEOUT_S = 10.0
QUIT_TIMEOUT_S = 1.0
CONNECTIONS_MAX = 4
IDLE_MAX_S = 30.0
"""A connection that was idle for longer is not reused: a firewall may have dropped it silently."""

IDLE_ANSWER_S = 30.0
"""Limit of a reused connection's first reply; then another one is tried: MAIL can be repeated."""

SERVICE_CLOSING = 421
START_MAIL_INPUT = 354


class SmtpMailer:
    """Sends over at most ``CONNECTIONS_MAX`` connections, which are reused while they are recent.

    Only a refusal of the recipient is permanent. A refusal of the login, the sender, this machine
    or a rate defers the mail until the operator has corrected the cause.
    ``limits`` are the seconds that each step may take; ``helo_name`` is the name in EHLO, ``None``
    for the machine's own.
    """

    def __init__(
        self,
        address: SmtpAddress,
        limits: Mapping[Stage, float] = TIME_LIMITS_S,
        helo_name: str | None = None,
    ) -> None:
        self._address = address
        self._helo_name = helo_name
        self._limits = limits
        self._slots = asyncio.Semaphore(CONNECTIONS_MAX)
        self._idle: list[tuple[float, SMTP]] = []

    async def send(self, message: EmailMessage, before_content: BeforeContent = no_check) -> None:
        """Return once the server has accepted responsibility for ``message``.

        ``before_content`` is awaited after the reply to DATA, before the first byte of content; if
        it raises, the connection is closed and the server drops the message (RFC 5321, section
        4.1.1.4). Nothing is repeated after the content was sent: it could arrive twice.

        Raises:
            MailUnanswered: the content was sent and no reply arrived.
            MailDeferred: the server is unavailable, replied 4xx, or refuses us, not the recipient.
            MailRefused: the server refuses this recipient permanently.
        """
        envelope = Envelope.of(message)
        async with self._slots:
            client = await self._client_after_rcpt(envelope)
            with closed_on_error(client):
                await self._begin_content(client, envelope)
                # The reply to DATA may have taken minutes: the mail's lease may be lost.
                await before_content()
                await self._send_content(client, envelope)
            self._keep(client)

    async def check(self) -> None:
        """Connect, with TLS and login as configured, without sending mail.

        Raises:
            MailDeferred: the server is unavailable or refuses the session.
        """
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S), self._slots:
                client = await self._connect()
                with closed_on_error(client):
                    async with self._step(Stage.MAIL):
                        await client.noop()
                self._keep(client)
        except TimeoutError as error:
            raise MailDeferred("The mail server did not answer in time.") from error

    async def aclose(self) -> None:
        """Close the idle connections with QUIT."""
        while self._idle:
            _, client = self._idle.pop()
            await quit_and_close(client, QUIT_TIMEOUT_S)

    def _step(
        self, stage: Stage, addresses: Sequence[str] = (), limit_s: float | None = None
    ) -> AbstractAsyncContextManager[None]:
        limit_s = self._limits[stage] if limit_s is None else limit_s
        return smtp_step(stage, limit_s, (*addresses, *self._address.secrets))

    async def _client_after_rcpt(self, envelope: Envelope) -> SMTP:
        """Return a connection whose server has accepted the sender and all recipients.

        An idle connection may turn out to be closed. Before DATA this is
        harmless: the next one is tried, and finally a new one.
        """
        while (client := self._reusable()) is not None:
            try:
                await self._send_addresses(client, envelope, IDLE_ANSWER_S)
            except MailDeferred as error:
                if not _connection_lost(error.__cause__):
                    raise
            else:
                return client
        client = await self._connect()
        await self._send_addresses(client, envelope)
        return client

    async def _send_addresses(
        self, client: SMTP, envelope: Envelope, limit_s: float | None = None
    ) -> None:
        """Send MAIL and RCPT; a refused recipient raises, so all are accepted or none."""
        with closed_on_error(client):
            options, encoding = _utf8(client, envelope) if envelope.needs_utf8 else ([], "ascii")
            async with self._step(Stage.MAIL, envelope.addresses, limit_s):
                await client.mail(envelope.sender, options=options, encoding=encoding)
            for recipient in envelope.recipients:
                async with self._step(Stage.RCPT, envelope.addresses):
                    await client.rcpt(recipient, encoding=encoding)

    async def _begin_content(self, client: SMTP, envelope: Envelope) -> None:
        async with self._step(Stage.DATA, envelope.addresses):
            reply = await client.execute_command(b"DATA")
            if reply.code != START_MAIL_INPUT:
                raise SMTPDataError(reply.code, reply.message)

    async def _send_content(self, client: SMTP, envelope: Envelope) -> None:
        """Send the content and wait for the reply. Must not await before the first byte.

        An await would open a gap between ``before_content`` and the content. aiosmtplib's own
        ``data`` sends command and content in one call, with no place for ``before_content``.
        """
        content = normalize_message_line_endings(envelope.to_bytes())
        async with self._step(Stage.CONTENT, envelope.addresses):
            if client.protocol is None:
                raise SMTPServerDisconnected("Connection lost")
            client.protocol.write(PERIOD_REGEX.sub(b"..", content) + b".\r\n")
            # No await since the write: aiosmtplib drops a reply that arrives before this call.
            reply = await client.protocol.read_response()
            # Not only 250: a retry after another 2xx would send an accepted message twice.
            if not 200 <= reply.code <= 299:
                raise SMTPDataError(reply.code, reply.message)

    def _keep(self, client: SMTP) -> None:
        if client.is_connected:
            self._idle.append((time.monotonic(), client))

    def _reusable(self) -> SMTP | None:
        """Return an idle connection that was used recently, ``None`` if there is none."""
        while self._idle:
            used_at, client = self._idle.pop()
            if client.is_connected and time.monotonic() - used_at < IDLE_MAX_S:
                return client
            close(client)
        return None

    async def _connect(self) -> SMTP:
        address = self._address
        client = SMTP(
            hostname=address.host,
            port=None,  # aiosmtplib refuses a port beside a socket
            local_hostname=self._helo_name,
            use_tls=address.implicit_tls,
            # The default would use STARTTLS where the server offers it and else go on without TLS.
            start_tls=False,
            timeout=None,  # _step limits it: aiosmtplib's wait_for may swallow a cancellation
        )
        with closed_on_error(client):
            async with self._step(Stage.CONNECT):
                await client.connect(sock=await dial(address.host, address.port))
            await self._greet(client)
            if address.starttls:
                async with self._step(Stage.STARTTLS):
                    await client.starttls()
                # Again: what the server offered before TLS may be forged (RFC 3207, section 4.2).
                await self._greet(client)
            if address.user is not None:
                async with self._step(Stage.AUTH):
                    await client.login(address.user, address.password)
        return client

    async def _greet(self, client: SMTP) -> None:
        """Send EHLO, or HELO to a server without extensions (RFC 5321, section 3.2)."""
        async with self._step(Stage.EHLO):
            try:
                await client.ehlo()
            except SMTPHeloError:
                if not client.is_connected:
                    raise
                await client.helo()


@asynccontextmanager
async def open_mailer(settings: Settings) -> AsyncIterator[SmtpMailer]:
    """Yield the mailer; the mail server need not be up.

    Raises:
        SettingsInvalid: ``SMTP_URL`` is invalid.
    """
    address = SmtpAddress.parse(settings.smtp_url.get_secret_value())
    limits = {**TIME_LIMITS_S, Stage.CONTENT: settings.mail_answer_timeout_s}
    mailer = SmtpMailer(address, limits, helo_name(settings))
    try:
        yield mailer
    finally:
        await mailer.aclose()


def _connection_lost(error: BaseException | None) -> bool:
    if isinstance(error, SMTPResponseException):
        return error.code == SERVICE_CLOSING
    return isinstance(error, SMTPServerDisconnected | ConnectionError | TimeoutError)


def _utf8(client: SMTP, envelope: Envelope) -> tuple[list[str], str]:
    """Return MAIL's options and the encoding of addresses that are not ASCII (RFC 6531).

    Raises:
        MailRefused: the server does not support SMTPUTF8, which a recipient's address needs.
        MailDeferred: it does not, and only our own addresses need it.
    """
    if client.supports_extension("smtputf8"):
        # 8BITMIME too: to_bytes() then writes the headers in UTF-8.
        return ["SMTPUTF8", "BODY=8BITMIME"], "utf-8"
    detail = "The mail server does not accept addresses beyond ASCII (SMTPUTF8)."
    if all(map(str.isascii, envelope.recipients)):
        raise MailDeferred(detail, "MAIL_FROM or MAIL_REPLY_TO needs SMTPUTF8")
    raise MailRefused(detail)
