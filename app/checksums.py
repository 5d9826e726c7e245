"""CRC-32C (Castagnoli), as S3 and Google Cloud Storage write it."""

from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from crc32c import crc32c

POLYNOMIAL = 0x82F63B78
"""Castagnoli's, as all polynomials here: the highest bit is the coefficient of x^0."""

ONE, X = 1 << 31, 1 << 30


@dataclass(frozen=True)
class Crc32c:
    """The CRC-32C of the bytes so far; that of no bytes is 0."""

    value: int = 0

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview) -> Self:
        """Return the checksum of ``data``: 0.1 ms a megabyte."""
        return cls(crc32c(data))

    def followed_by(self, following: "Crc32c", length: int) -> "Crc32c":
        """Return the checksum of the bytes so far and ``length`` bytes with ``following`` after.

        The bytes themselves are not read: a following byte shifts the polynomial by x^8.
        """
        return Crc32c(_product(_power(8 * length), self.value) ^ following.value)

    def __str__(self) -> str:
        """Return the base64 of its four bytes, big-endian: the value of S3's header."""
        return b64encode(self.value.to_bytes(4)).decode()

    @property
    def label(self) -> str:
        """The checksum with the name of its algorithm, as documents show it."""
        return f"crc32c:{self}"


def _product(one: int, other: int) -> int:
    """Return the product of two polynomials, modulo ``POLYNOMIAL``."""
    product = 0
    for bit in range(31, -1, -1):
        if one >> bit & 1:
            product ^= other
        other = other >> 1 ^ (POLYNOMIAL if other & 1 else 0)
    return product


@lru_cache
def _power(exponent: int) -> int:
    """Return x to the power of ``exponent``, by squaring; parts have few lengths."""
    power, square = ONE, X
    while exponent:
        if exponent & 1:
            power = _product(power, square)
        square = _product(square, square)
        exponent >>= 1
    return power
