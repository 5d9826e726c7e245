"""Which addresses a mail may go to."""

import unicodedata

ADDRESS_MAX = 254
"""RFC 5321, section 4.5.3.1.3: a path of 256 octets, less its angle brackets."""

LOCAL_MAX = 64
"""RFC 5321, section 4.5.3.1.1, in octets."""

LABEL_MAX = 63
"""RFC 1035, section 2.3.4."""

_SPECIALS = frozenset('()<>[]:;,\\"')


def is_mailable(value: object) -> bool:
    """Return whether ``value`` is one plain address, safe in a header.

    ASCII or not (RFC 6531), but without quoting, comments, white space,
    control or invisible characters and without anything that a mail program
    would decode as an encoded word (RFC 2047): what is stored is what is seen
    is what is sent to.
    """
    if not isinstance(value, str) or any(map(_is_unfit, value)) or "=?" in value:
        return False
    local, _, domain = value.rpartition("@")
    return (
        "@" not in local
        and 0 < len(local.encode()) <= LOCAL_MAX
        and len(value.encode()) <= ADDRESS_MAX
        and _are_atoms(local)
        and _are_labels(domain)
    )


def _is_unfit(character: str) -> bool:
    return character in _SPECIALS or unicodedata.category(character)[0] in "CZ"


def _are_atoms(local: str) -> bool:
    return all(local.split("."))


def _are_labels(domain: str) -> bool:
    labels = domain.split(".")
    return len(labels) > 1 and all(map(_is_label, labels))


def _is_label(label: str) -> bool:
    """Return whether this is letters, digits and inner hyphens, of any script (RFC 5890)."""
    letters = label[:1] + label[1:-1].replace("-", "") + label[-1:]
    return 0 < len(label) <= LABEL_MAX and all(
        unicodedata.category(letter)[0] in "LMN" for letter in letters
    )
