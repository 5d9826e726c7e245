"""The rule of a valid address: an immutable function of the database.

The generated column ``member_email`` calls it, so it runs once for each
eligible row that is written. PostgreSQL inlines it there: every name in it is
built in, and it has no ``SET`` clause.
"""

_WHITE_SPACE = r" \t\n\v\f\r"

_ATOM = rf'[^][@(),<>;:\\".{_WHITE_SPACE}]+'
_CONTROL = r"\u0001-\u001f\u007f-\u009f"
_QUOTED = rf'"(?:[^"\\{_CONTROL}]|\\[^{_CONTROL}])*"'
_DOTTED = rf"{_ATOM}(?:\.{_ATOM})*"

_NAME = r"(?:[a-z0-9-]+\.)+[a-z]{2,}"
_OCTET = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
_LITERAL = rf"\[(?:{_OCTET}\.){{3}}{_OCTET}\]"

_USUAL = f"^{_DOTTED}@{_NAME}$"
_VALID = f"^(?:{_DOTTED}|{_QUOTED})@(?:{_NAME}|{_LITERAL})$"

_NORMALISED = rf"""(lower(btrim(email, E'{_WHITE_SPACE}') COLLATE pg_unicode_fast) COLLATE "C")"""

ADDRESS_FUNCTION = f"""
CREATE OR REPLACE FUNCTION public.audience_address(email text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN (octet_length(email) <= 255 OR char_length({_NORMALISED}) <= 255)
        AND ({_NORMALISED} ~ '{_USUAL}' OR {_NORMALISED} ~ '{_VALID}')
    THEN {_NORMALISED}
END
"""
"""``audience_address(email)``: the normalised address, or null where it is invalid.

Normalised is without ASCII white space at the ends and in lower case by the
built-in collation ``pg_unicode_fast``, which is the same on every machine.

It runs for every row of a bulk load, so the usual kind of address is matched
first: PostgreSQL builds a pattern's automaton anew for each text, and that of
the whole rule takes three times as long. Bytes are counted first, since no
letter's lower case has more characters than the letter has bytes.
"""
