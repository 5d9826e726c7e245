"""The SMTP envelope of a message: sender, recipients and the bytes to send."""

from collections.abc import Iterable
from dataclasses import dataclass
from email.errors import InvalidHeaderDefect
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from typing import Self

from aiosmtplib.email import quote_address

from app.errors import MailRefused

# A server without 8BITMIME need not accept bytes above 127 (RFC 6152).
ASCII = SMTP.clone(cte_type="7bit")

NO_ADDRESS = "The address is not a valid e-mail address."


@dataclass(frozen=True)
class Envelope:
    """The sender and recipients of the SMTP commands, taken from the message's header."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage

    @classmethod
    def of(cls, message: EmailMessage) -> Self:
        """Return the envelope of a message.

        Raises:
            MailRefused: an address is missing or invalid in an SMTP command.
        """
        senders = tuple(_addresses(message, ("From",)))
        recipients = tuple(_addresses(message, ("To", "Cc", "Bcc")))
        if len(senders) != 1 or not recipients:
            raise MailRefused("The message needs exactly one sender and at least one recipient.")
        for address in (*senders, *recipients):
            _require_whole(address)
        return cls(senders[0], recipients, message)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The sender, then the recipients."""
        return (self.sender, *self.recipients)

    @property
    def needs_utf8(self) -> bool:
        """Whether an address is not ASCII, so that SMTPUTF8 is required (RFC 6531)."""
        others = _addresses(self.message, ("Reply-To",))
        return not all(address.isascii() for address in (self.sender, *self.recipients, *others))

    def to_bytes(self) -> bytes:
        """Return the message as sent, before dot-stuffing; in ASCII unless ``needs_utf8``."""
        return self.message.as_bytes(policy=SMTPUTF8 if self.needs_utf8 else ASCII)


def _require_whole(address: str) -> None:
    """Raise ``MailRefused`` for text that a command would send as another address, or as two."""
    try:
        quoted = quote_address(address)
    except ValueError as error:
        raise MailRefused(NO_ADDRESS) from error
    if quoted != f"<{address}>":
        raise MailRefused(NO_ADDRESS)


def _addresses(message: EmailMessage, names: Iterable[str]) -> Iterable[str]:
    for name in names:
        for field in message.get_all(name, []):
            if any(isinstance(defect, InvalidHeaderDefect) for defect in field.defects):
                raise MailRefused(NO_ADDRESS)
            addresses: tuple[Address, ...] = field.addresses
            yield from (address.addr_spec for address in addresses)
