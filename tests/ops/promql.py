"""What expressions of Prometheus ask for: metrics, labels, ranges."""

import re
from dataclasses import dataclass

LANGUAGE = frozenset(
    {"sum", "max", "min", "count", "by", "on", "and", "or", "unless", "offset", "time", "vector"}
    | {"absent", "rate", "increase", "max_over_time", "histogram_quantile"}
)
"""The words of PromQL that are used here; any other word is taken for a metric's name."""

TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
GROUPING = re.compile(r"\b(?:by|on) *\(([^)]*)\)")
MATCHERS = re.compile(r"([a-zA-Z_:][\w:]*) *\{([^}]*)\}")
LABEL = re.compile(r"(\w+) *(?:=~|!~|!=|=)")
RANGE = re.compile(r"\[[^\]]*\]|\boffset *\w+")
NAME = re.compile(r"(?<![\w:.])[a-zA-Z_:][\w:]*")


@dataclass(frozen=True)
class Query:
    """An expression, seen by its names."""

    metrics: frozenset[str]
    matched: frozenset[tuple[str, str]]
    """Metrics with a label that they are chosen by."""

    grouped: frozenset[str]
    """Labels that results are grouped by."""


def read(expression: str) -> Query:
    """Return what an expression asks for."""
    plain = TEXT.sub('""', expression)
    matched = {
        (metric, label)
        for metric, matchers in MATCHERS.findall(plain)
        for label in LABEL.findall(matchers)
    }
    grouped = {
        label.strip()
        for labels in GROUPING.findall(plain)
        for label in labels.split(",")
        if label.strip()
    }
    bare = re.sub(r"\{[^}]*\}", "", GROUPING.sub("", RANGE.sub("", plain)))
    return Query(frozenset(NAME.findall(bare)) - LANGUAGE, frozenset(matched), frozenset(grouped))


def runnable(expression: str) -> str:
    """Return a dashboard's expression with Grafana's variables filled in."""
    return expression.replace("$__rate_interval", "5m").replace("$__range", "1d")
