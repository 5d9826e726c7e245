"""Statements that change old rows of a partitioned table, a batch at a time.

Repeat one while it changes as many rows as its ``:batch``. Several workers may do so at once.
"""


def oldest_rows(table: str, condition: str, order: str) -> str:
    """Return a ``WITH`` query, ``old``, that locks the first ``:batch`` rows; see ``IN_OLDEST``.

    ``order`` is an indexed expression. Rows that others have locked are left to them.
    """
    return f"""
    WITH old AS MATERIALIZED (
        SELECT tableoid AS home, ctid AS place
        FROM {table}
        WHERE {condition}
        ORDER BY {order}
        LIMIT :batch
        -- The lock keeps each ctid valid until the outer statement has used it.
        FOR UPDATE SKIP LOCKED
    )"""  # noqa: S608 - constants


# By ctid, which is one partition's: to find a batch by its keys the planner may read the table.
# The second condition excludes rows of other partitions that have the same ctid.
IN_OLDEST = """ctid = ANY (ARRAY(SELECT place FROM old))
    AND (tableoid, ctid) IN (SELECT home, place FROM old)"""


def delete_oldest(table: str, condition: str, order: str) -> str:
    """Return the statement that deletes the first ``:batch`` rows."""
    return f"""{oldest_rows(table, condition, order)}
    DELETE FROM {table}
    WHERE {IN_OLDEST}
"""  # noqa: S608 - constants
