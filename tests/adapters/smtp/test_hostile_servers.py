"""Mail servers that mean harm: greetings and replies without an end, or byte by byte."""

import asyncio

import pytest

from app.adapters.smtp import inspection, mailer
from app.adapters.smtp.address import SmtpAddress
from app.adapters.smtp.inspection import Sender, inspect
from app.adapters.smtp.mailer import SmtpMailer
from app.errors import MailDeferred
from tests.hostile import MIB, hostile_peer, measured_memory

SENDER = Sender("example.com", "exports@example.com")
ENDLESS = {
    "a greeting's line": (b"220 ", b"x" * 65536),
    "a greeting of many lines": (b"", b"220-welcome\r\n" * 5000),
    "a reply's line": (b"220 ready\r\n250-", b"x" * 65536),
    "a reply of many lines": (b"220 ready\r\n", b"250-SIZE\r\n" * 5000),
    "no reply": (b"", b"\r\n" * 30_000),
    "noise": (b"", b"\0" * 65536),
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_a_reply_without_an_end_is_read_to_a_bound(kind: str) -> None:
    async with hostile_peer(*ENDLESS[kind]) as peer, asyncio.timeout(60):
        address = SmtpAddress("127.0.0.1", peer.port)
        with measured_memory() as memory:
            with pytest.raises(MailDeferred):
                await SmtpMailer(address).check()
            assert await inspect(address, SENDER) is not None
    assert memory.peak < 8 * MIB


@pytest.mark.parametrize("head", [b"", b"220 ready\r\n"])
async def test_a_reply_that_drips_is_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(mailer, "CHECK_TIMEOUT_S", 1.0)
    monkeypatch.setattr(inspection, "COMMAND_TIMEOUT_S", 1.0)
    async with hostile_peer(head, b"2", pause_s=0.05) as peer, asyncio.timeout(60):
        address = SmtpAddress("127.0.0.1", peer.port)
        with pytest.raises(MailDeferred, match="in time"):
            await SmtpMailer(address).check()
        assert await inspect(address, SENDER) is not None
