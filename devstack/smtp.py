"""An SMTP server that stores mail in files. Running the module runs the server process.

Each message becomes one ``.eml`` file, renamed into place, whose name sorts
in order of arrival. The envelope is prepended as header fields:
``X-Envelope-From`` once, ``X-Envelope-To`` for each recipient, in UTF-8
(RFC 6532).

Each file in the folder ``replies`` is a reply, used in order of the files'
names, that the next message gets instead of ``250``.
"""

import argparse
import asyncio
import secrets
import sys
import time
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from devstack.sandbox import Process, Sandbox, ServerFailed, free_port, is_listening

START_TIMEOUT_S = 30.0
SIZE_MAX_BYTES = 32 * 1024 * 1024

TEMPORARY_FAILURE = "451 4.3.0 Try again later"
PERMANENT_FAILURE = "550 5.1.1 No such mailbox"


class SmtpServer:
    """An SMTP server without TLS that stores messages in the folder ``mailbox``."""

    def __init__(
        self, sandbox: Sandbox, *, name: str = "smtp", mailbox: Path | None = None
    ) -> None:
        self.port = free_port()
        self._sandbox = sandbox
        self._name = name
        self._folder = sandbox.folder(name)
        self._replies = self._folder / "replies"
        self._replies.mkdir()
        self.mailbox = mailbox or self._folder / "mailbox"
        self.mailbox.mkdir(exist_ok=True)
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """The server's URL."""
        return f"smtp://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until it accepts connections.

        Raises:
            ServerFailed: it exited or is not ready in time; the message has the end of its log.
        """
        command = [sys.executable, "-m", "devstack.smtp", str(self.port)]
        self._process = self._sandbox.spawn(
            self._name,
            [*command, self.mailbox, self._replies],
            environment={"PYTHONPATH": str(Path(__file__).parent.parent)},
            folder=self._folder,
        )
        self._process.wait_until(lambda: is_listening(self.port), START_TIMEOUT_S)

    def stop(self) -> None:
        """Stop; the mailbox remains."""
        self.kill()

    def kill(self) -> None:
        """Simulate a crash: SIGKILL; the mailbox remains."""
        if self._process is None:
            raise ServerFailed(f"{self._name} is not running")
        self._process.kill()
        self._process = None

    def messages(self) -> list[Path]:
        """Return the messages' files, oldest first."""
        return sorted(self.mailbox.glob("*.eml"))

    def empty(self) -> None:
        """Delete all messages and unused replies."""
        for path in (*self.messages(), *self._replies.iterdir()):
            path.unlink(missing_ok=True)

    def reply(self, text: str, times: int = 1) -> None:
        """Reply to the next ``times`` messages with ``text``, a code and text, and drop them."""
        for _ in range(times):
            name = unique_name()
            (self._replies.parent / name).write_text(text)
            (self._replies.parent / name).rename(self._replies / name)


class Mailbox:
    """The handler that aiosmtpd calls for each message."""

    def __init__(self, folder: Path, replies: Path) -> None:
        self._folder = folder
        self._replies = replies

    async def handle_DATA(  # noqa: N802 - aiosmtpd calls it by this name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Return the next prepared reply, or store the message and accept it."""
        for reply in sorted(self._replies.iterdir()):
            text = reply.read_text()
            reply.unlink()
            return text
        self._store(envelope)
        return "250 2.0.0 Stored"

    def _store(self, envelope: Envelope) -> None:
        fields = [f"X-Envelope-From: {envelope.mail_from}"]
        fields += [f"X-Envelope-To: {recipient}" for recipient in envelope.rcpt_tos]
        head = "".join(f"{field}\r\n" for field in fields).encode()
        name = unique_name()
        unfinished = self._folder / f".{name}"
        unfinished.touch(0o600, exist_ok=False)  # a mail holds an address and a secret link
        unfinished.write_bytes(head + (envelope.original_content or b""))
        unfinished.rename(self._folder / f"{name}.eml")


def unique_name() -> str:
    """Return a new name that sorts after all earlier ones."""
    return f"{time.time_ns():020d}-{secrets.token_hex(4)}"


async def serve(port: int, mailbox: Mailbox) -> None:
    """Accept messages on the loopback port until cancelled."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(mailbox, enable_SMTPUTF8=True, data_size_limit=SIZE_MAX_BYTES, loop=loop),
        host="127.0.0.1",
        port=port,
    )
    await server.serve_forever()


def main() -> None:
    """Serve until a signal ends the process."""
    parser = argparse.ArgumentParser(prog="python -m devstack.smtp", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("mailbox", type=Path)
    parser.add_argument("replies", type=Path)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, Mailbox(arguments.mailbox, arguments.replies)))


if __name__ == "__main__":
    main()
