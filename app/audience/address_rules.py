"""The rule of a valid address: immutable functions of the database.

The generated column ``member_email`` calls the first, so it runs once for each
eligible row that is written. PostgreSQL inlines the first there: it has no ``SET``
clause, and every name in it is built in or qualified.
"""

from app.audience.characters import (
    CONTROLS,
    DIGITS,
    FORMATS,
    INVISIBLE,
    LETTERS,
    WHITE_SPACE,
    escaped,
    listed,
)

# The ] comes first: anywhere else it would end the bracket expression.
_SPECIAL = r'][@(),<>;:\\"'
_OCTET = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
_LITERAL = rf"\[(?:{_OCTET}\.){{3}}{_OCTET}\]"


def _dotted(forbidden: str) -> str:
    """Return the pattern of dot-separated atoms without ``forbidden`` characters."""
    atom = rf"[^{_SPECIAL}.{forbidden}]+"
    return rf"{atom}(?:\.{atom})*"


def _quoted(forbidden: str) -> str:
    return rf'"(?:[^"\\{forbidden}]|\\[^{forbidden}])*"'


def _name(letters: str, digits: str) -> str:
    label = f"[{letters}{digits}-]+"
    return rf"(?:{label}\.)+(?:[{letters}]{{2,}}|xn--[{letters}{digits}-]+)"


_ASCII_ATOM = r"[!#$\u0025&'*+/0-9=?^_`a-z{|}~-]+"  # \u0025 is %, which drivers would double
_ASCII_NAME = _name("a-z", "0-9")
_UNSEEN = escaped(CONTROLS, FORMATS)
_UNICODE_DOTTED = _dotted(_UNSEEN + escaped(WHITE_SPACE))
_UNICODE_NAME = _name(f"a-z{escaped(LETTERS)}", f"0-9{escaped(DIGITS)}")

_USUAL = rf"^{_ASCII_ATOM}(?:\.{_ASCII_ATOM})*@(?:[a-z0-9-]+\.)+[a-z]{{2,}}$"
# Tried first, as its pattern is much smaller. It must accept nothing that _VALID refuses.
_LOCAL_BEYOND_ASCII = f"^{_UNICODE_DOTTED}@{_ASCII_NAME}$"
_VALID = f"^(?:{_UNICODE_DOTTED}|{_quoted(_UNSEEN)})@(?:{_UNICODE_NAME}|{_LITERAL})$"


def _literal(pattern: str) -> str:
    """Return a pattern as an SQL string, independent of ``standard_conforming_strings``."""
    return "E'" + pattern.replace("\\", "\\\\").replace("'", "''") + "'"


# Collation C, not the database's: the result is stored, and must be the same everywhere.
_USUAL_NORMALISED = r"""(lower(btrim(email, E' \t\n\v\f\r') COLLATE "C") COLLATE "C")"""

_NORMALISED = f"""
        lower(
            btrim(normalize(email, NFC), E'{listed(WHITE_SPACE, INVISIBLE)}')
            COLLATE pg_unicode_fast
        ) COLLATE "C"
"""

UNUSUAL_FUNCTION = f"""
CREATE OR REPLACE FUNCTION public.audience_unusual_address(email text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
SET search_path = pg_catalog
RETURN (
    SELECT CASE
        WHEN char_length(normalised) <= 255
            AND (
                normalised ~ {_literal(_LOCAL_BEYOND_ASCII)}
                OR normalised ~ {_literal(_VALID)}
            )
        THEN normalised
    END
    FROM (SELECT {_NORMALISED.strip()}) AS given (normalised)
)
"""
"""``audience_unusual_address(email)``: the whole rule.

Normalised is composed (NFC), without white space and invisible characters at
the ends, and in lower case by the built-in collation ``pg_unicode_fast``,
which is the same on every machine. Not inlined, so that its patterns, some
kilobytes, are not in every table's definition. The setting keeps PostgreSQL from
reading the body to find that out, a quarter of a millisecond for each statement.
"""

ADDRESS_FUNCTION = f"""
CREATE OR REPLACE FUNCTION public.audience_address(email text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN octet_length(email) <= 255 AND {_USUAL_NORMALISED} ~ {_literal(_USUAL)}
    THEN {_USUAL_NORMALISED}
    ELSE public.audience_unusual_address(email)
END
"""
"""``audience_address(email)``: the normalised address, or null where it is invalid.

It runs for every row of a bulk load, so the usual kind of address, all ASCII, is
matched first: PostgreSQL builds a pattern's automaton again for each text, and
the whole rule takes ten times as long.
"""
