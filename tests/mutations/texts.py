"""Mutations of what Python's operators do not reach: SQL and patterns in strings."""

import re
from collections.abc import Iterator

Rule = tuple[re.Pattern[str], str]

SQL = re.compile(
    r"\b(SELECT|UPDATE|INSERT|DELETE|SET|FROM|WHERE|AND|OR|CASE|WHEN|ORDER BY|LIMIT|LEAST)\b"
)
"""A string with one of these is SQL."""

PATTERN = re.compile(r"\(\?:|\]\+|\]\*|\\\.|\]\{")
"""A string with one of these is a regular expression."""

CONDITION = r"(?:[^()\n]|\((?:[^()\n]|\([^()\n]*\))*\))*?"
"""A condition on one line, with its parentheses."""


def _rules(*rules: tuple[str, str]) -> tuple[Rule, ...]:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in rules)


SQL_RULES = _rules(
    (rf"\s+(?:AND|OR(?! REPLACE)) {CONDITION}(?= AND | OR |\)|\n|\"|$)", ""),
    (r"\n +\w+ = [^\n]+,(?=\n)", ""),
    (r"\bAND\b", "OR"),
    (r"\bOR\b(?! REPLACE)", "AND"),
    (r"((?:AND|OR|WHERE|WHEN|NOT|ON) [^=\n<>]*?) = ", r"\1 <> "),
    (r" <= ", " < "),
    (r" >= ", " > "),
    (r" < ", " <= "),
    (r" > ", " >= "),
    (r" <> ", " = "),
    (r" \+ ", " - "),
    (r" - ", " + "),
    (r" % ", " / "),
    (r"\bIS NOT NULL\b", "IS NULL"),
    (r"\bIS NULL\b", "IS NOT NULL"),
    (r"\bNOT (?=IN\b|:)", ""),
    (r"\b(?:greatest)\(", "least("),
    (r"\b(?:least|LEAST)\(", "greatest("),
    (r"\bDESC\b", "ASC"),
    (r"\n *ORDER BY [^\n]*", ""),
    (r" ORDER BY \w+", ""),
    (r"\n *LIMIT [^\n]*", ""),
    (r"\n *FOR (?:NO KEY )?UPDATE[^\n]*", ""),
    (r" SKIP LOCKED", ""),
    (r"(?<![\w.:$])(\d+)(?![\w.])", r"(\1 + 1)"),
    (r"(')(\d+)( (?:hours?|minutes|days))", r"\g<1>1\2\3"),
    (r"''", "'x'"),
)
PATTERN_RULES = _rules(
    (r"(?<=[\])])\+", "*"),
    (r"(?<=[\])])\*", "+"),
    (r"\{+2,\}+", "{{1,}}"),
    (r"\{+2,\}+", "{{3,}}"),
    (r"\{+3\}+", "{{2}}"),
    (r"(?<!\[)\^", ""),
    (r"\$(?=$|\")", ""),
    (r"(?<=[\]\)\w])\?", ""),
    (r"\|", ""),
)


def mutations(text: str) -> Iterator[str]:
    """Return every text that one change makes of a Python string's source."""
    rules = SQL_RULES if SQL.search(text) else PATTERN_RULES if PATTERN.search(text) else ()
    for pattern, replacement in rules:
        for match in pattern.finditer(text):
            mutated = text[: match.start()] + match.expand(replacement) + text[match.end() :]
            if mutated != text:
                yield mutated
