"""What PostgreSQL says of the merge: its plan, how often it went to the table."""

import json
from dataclasses import dataclass
from typing import Any

INDEX_ONLY = "Index Only Scan"


@dataclass(frozen=True)
class Read:
    """One execution: ``pages`` are those of the index and the table, cached or not."""

    index_only: bool
    rows: int
    heap_fetches: int
    pages: int
    seconds: float


def explain(query: str) -> str:
    """Return the statement that executes ``query`` and tells about it."""
    return f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {query}"


def read_of(explained: str) -> Read:
    """Return what EXPLAIN printed, as far as it matters here."""
    (document,) = json.loads(explained)
    plan = document["Plan"]
    scans = list(nodes(plan))
    leaves = [node for node in scans if "Plans" not in node]
    return Read(
        index_only=[node["Node Type"] for node in leaves] == [INDEX_ONLY],
        rows=int(plan["Actual Rows"]),
        heap_fetches=sum(node.get("Heap Fetches", 0) for node in scans),
        pages=plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
        seconds=document["Execution Time"] / 1000,
    )


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a plan's nodes, itself first."""
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]
