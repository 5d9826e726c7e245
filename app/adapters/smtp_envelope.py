"""A message ready for a mail server: whom it is from, whom it goes to, its bytes."""

from collections.abc import Iterable
from dataclasses import dataclass
from email.errors import InvalidHeaderDefect
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8, EmailPolicy
from functools import lru_cache
from typing import Any, Self

from aiosmtplib.email import quote_address

from app.errors import MailRefused

NO_ADDRESS = "The address is not one that mail servers understand."


@dataclass(frozen=True)
class Envelope:
    """What the SMTP commands carry, taken from the message's header."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage

    @classmethod
    def of(cls, message: EmailMessage) -> Self:
        """Return the envelope of a message.

        Raises:
            MailRefused: an address is missing or cannot stand in a command.
        """
        senders = tuple(_addresses(message, ("From",)))
        recipients = tuple(_addresses(message, ("To", "Cc", "Bcc")))
        if len(senders) != 1 or not recipients:
            raise MailRefused("The message needs one sender and a recipient.")
        for address in (*senders, *recipients):
            _require_whole(address)
        return cls(senders[0], recipients, message)

    @property
    def needs_utf8(self) -> bool:
        """Whether an address, which has no other encoding, is not ASCII (RFC 6531)."""
        others = _addresses(self.message, ("Reply-To",))
        return not all(address.isascii() for address in (self.sender, *self.recipients, *others))

    def flattened(self) -> bytes:
        """Return the message as it goes over the wire, in ASCII if that is possible."""
        return self.message.as_bytes(policy=SMTPUTF8 if self.needs_utf8 else ASCII)


class Folding(EmailPolicy):
    """Breaks header fields into lines as the standard library does, and remembers the latest.

    Most fields of a mail are those of the mail before, and each takes long.
    """

    def fold_binary(self, name: str, value: Any) -> bytes:
        """Return a field as it goes over the wire."""
        return _folded(name, value)


ASCII = Folding(linesep=SMTP.linesep, cte_type="7bit")
_folded = lru_cache(64)(SMTP.clone(cte_type="7bit").fold_binary)


def _require_whole(address: str) -> None:
    """Refuse what would reach a command as another address, or as two."""
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
