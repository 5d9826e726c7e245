"""What an EXPLAIN says, read."""

import json

from benchmarks.harness.query_plans import read_of


def explained(scan: str) -> str:
    leaf = {"Node Type": scan, "Actual Rows": 9.0, "Heap Fetches": 3}
    plan = {
        "Node Type": "Sort",
        "Actual Rows": 9.0,
        "Shared Hit Blocks": 4,
        "Shared Read Blocks": 1,
        "Plans": [leaf],
    }
    return json.dumps([{"Plan": plan, "Execution Time": 1500.0}])


def test_rows_heap_fetches_and_pages_are_counted() -> None:
    read = read_of(explained("Index Only Scan"))

    assert (read.rows, read.heap_fetches, read.pages, read.seconds) == (9, 3, 5, 1.5)


def test_only_an_index_only_scan_is_one() -> None:
    assert read_of(explained("Index Only Scan")).index_only
    assert not read_of(explained("Index Scan")).index_only
