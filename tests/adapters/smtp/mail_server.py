"""A mail server in the test's own loop that can be told what to answer to which command."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "mailer@example.com", "p@ss:/?#word"


@dataclass
class MailServer:
    """What arrived, and what to answer: ``replies`` by command, else the usual."""

    port: int = 0
    received: list[Envelope] = field(default_factory=list)
    replies: dict[str, str] = field(default_factory=dict)
    logins: list[str] = field(default_factory=list)
    sessions: set[Session] = field(default_factory=set)
    greetings: list[str] = field(default_factory=list)

    @property
    def contents(self) -> list[bytes]:
        """The messages, as they came."""
        return [envelope.original_content or b"" for envelope in self.received]

    async def handle_EHLO(  # noqa: N802 - aiosmtpd chose the names
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        """Take the client's name."""
        session.host_name = hostname
        self.greetings.append(hostname)
        return responses

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take the sender."""
        self.sessions.add(session)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self.replies.get("MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient."""
        reply = self.replies.get("RCPT", "250 OK")
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Take the message."""
        reply = self.replies.get("DATA", "250 OK")
        if reply.startswith("250"):
            self.received.append(envelope)
        return reply

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        """Let in who knows the password."""
        if data != LoginPassword(USER.encode(), PASSWORD.encode()):
            return AuthResult(success=False, handled=False)
        self.logins.append(mechanism)
        return AuthResult(success=True)


@asynccontextmanager
async def open_mail_server(
    implicit_tls: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[MailServer]:
    """Yield a server on a loopback port; ``options`` are aiosmtpd's."""
    mail = MailServer()
    loop = asyncio.get_running_loop()
    protocols: list[SMTP] = []

    def protocol() -> SMTP:
        protocols.append(SMTP(mail, authenticator=mail.authenticate, loop=loop, **options))
        return protocols[-1]

    listener = await loop.create_server(protocol, "127.0.0.1", 0, ssl=implicit_tls)
    mail.port = listener.sockets[0].getsockname()[1]
    try:
        yield mail
    finally:
        listener.close()
        for each in protocols:
            if isinstance(each.transport, asyncio.WriteTransport):
                each.transport.abort()
