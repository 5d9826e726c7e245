"""EXPLAIN of the merge: its plan, and how often it read the table itself."""

import json
from dataclasses import dataclass
from typing import Any

INDEX_ONLY = "Index Only Scan"


@dataclass(frozen=True)
class ScanStatistics:
    """One execution; ``pages`` counts index and table pages, cached or not."""

    index_only: bool
    rows: int
    heap_fetches: int
    pages: int
    seconds: float


def explain(query: str) -> str:
    """Return the EXPLAIN statement that executes ``query``."""
    return f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {query}"


def read_of(explained: str) -> ScanStatistics:
    """Return the statistics in the output of EXPLAIN."""
    (document,) = json.loads(explained)
    plan = document["Plan"]
    scans = list(nodes(plan))
    leaves = [node for node in scans if "Plans" not in node]
    return ScanStatistics(
        index_only=[node["Node Type"] for node in leaves] == [INDEX_ONLY],
        rows=int(plan["Actual Rows"]),
        heap_fetches=sum(node.get("Heap Fetches", 0) for node in scans),
        pages=plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
        seconds=document["Execution Time"] / 1000,
    )


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the nodes of a plan, the root first."""
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]
