"""Validate the recipient address of a mail."""

import unicodedata

import idna

ADDRESS_MAX = 254
"""In octets: RFC 5321, section 4.5.3.1.3, allows a path of 256 with its angle brackets."""

LOCAL_MAX = 64
"""In octets (RFC 5321, section 4.5.3.1.1)."""

LABEL_MAX = 63
"""The length of a domain label (RFC 1035, section 2.3.4)."""

_SPECIALS = frozenset('()<>[]:;,\\"')


def is_valid_recipient(value: object) -> bool:
    """Return whether ``value`` is one plain address that is safe in a header.

    It may be non-ASCII (RFC 6531). It must not have quoting, comments, white
    space, control or invisible characters, or an encoded word (RFC 2047):
    these could be displayed as, or delivered to, another address.
    """
    # First: lone surrogates are invalid, and `encode` below would raise for them.
    if not isinstance(value, str) or any(map(_is_invalid, value)) or "=?" in value:
        return False
    local, _, domain = value.rpartition("@")
    return (
        "@" not in local
        and 0 < len(local.encode()) <= LOCAL_MAX
        and len(value.encode()) <= ADDRESS_MAX
        and _are_atoms(local)
        and _are_labels(domain)
        and _has_ascii_form(domain)
    )


def ascii_domain(domain: str) -> str:
    """Return a domain in its ASCII form, as DNS and SMTP need it (RFC 5891).

    Raises:
        ValueError: the domain has no ASCII form.
    """
    return domain if domain.isascii() else idna.encode(domain, uts46=True).decode()


def with_ascii_domain(address: str) -> str:
    """Return an address with its domain in ASCII; the local part stays as it is.

    Raises:
        ValueError: the domain has no ASCII form.
    """
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{ascii_domain(domain)}"


def _has_ascii_form(domain: str) -> bool:
    try:
        return bool(ascii_domain(domain))
    except ValueError:
        return False


def _is_invalid(character: str) -> bool:
    return character in _SPECIALS or unicodedata.category(character)[0] in "CZ"


def _are_atoms(local: str) -> bool:
    return all(local.split("."))


def _are_labels(domain: str) -> bool:
    labels = domain.split(".")
    return len(labels) > 1 and all(map(_is_label, labels))


def _is_label(label: str) -> bool:
    """Return whether this is letters and digits of any script, and inner hyphens (RFC 5890)."""
    letters = label[:1] + label[1:-1].replace("-", "") + label[-1:]
    return 0 < len(label) <= LABEL_MAX and all(
        unicodedata.category(letter)[0] in "LMN" for letter in letters
    )
