"""How a trigger function names the tables it touches: by their names, or as shards of Citus.

On a server without Citus the functions hold plain statements. In the trigger of a shard,
``public.audience_members`` is the distributed table, whose plan does not know the transition
tables. So each statement is executed as text that names the shard of ``audience_members``
which is co-located with the trigger's own shard.
"""

from dataclasses import dataclass

from app.audience.sources import Source

FIND_SHARDS = """
IF EXISTS (SELECT FROM pg_catalog.pg_dist_partition WHERE logicalrelid = TG_RELID) THEN
    IF TG_OP <> 'TRUNCATE' THEN
        RAISE EXCEPTION 'logical replication cannot write to %, which is distributed', TG_TABLE_NAME
            USING ERRCODE = 'feature_not_supported',
                HINT = 'Use audience-export import, or POST /audience/events.';
    END IF;
    RETURN NULL;
END IF;
SELECT format('public.audience_members_%s', member.shardid) INTO members
FROM pg_catalog.pg_dist_shard AS own
JOIN pg_catalog.pg_dist_shard AS member ON member.shardminvalue = own.shardminvalue
WHERE own.shardid = substring(TG_TABLE_NAME FROM '_([0-9]+)$')::bigint
    AND member.logicalrelid = 'public.audience_members'::regclass;
IF members IS NULL THEN
    RAISE EXCEPTION '% is no shard of a distributed table', TG_RELID::regclass
        USING HINT = 'Run: audience-export distribute';
END IF;
"""
"""Find the co-located shard of ``audience_members``: its hash range begins with the same value.

On the coordinator the distributed table itself is empty. Its trigger fires for TRUNCATE, which
Citus repeats on each shard, and for rows that a subscription's worker writes past Citus.
"""


@dataclass(frozen=True)
class TriggerTables:
    """The names of tables and variables in the statements of a trigger function.

    Attributes:
        members: The table of members; ``aliased``, under the name ``audience_members``.
        rows: The source table.
        homes, places: The variables with the ``tableoid`` and ``ctid`` of members.
        declare, begin: What the function declares and does first.
    """

    members: str
    aliased: str
    rows: str
    homes: str = "homes"
    places: str = "places"
    declare: str = ""
    begin: str = ""

    def is_empty(self, member: str) -> str:
        """Return the condition that ``member``, a row of :attr:`members`, has no date."""
        return f"public.audience_member_is_empty({member})"

    def run(self, statement: str) -> str:
        """Return the PL/pgSQL that executes an SQL statement."""
        return f"{statement};"

    def perform(self, query: str) -> str:
        """Return the PL/pgSQL that executes ``SELECT query`` and drops the result."""
        return f"PERFORM {query};"

    def select_into(self, before: str, columns: str, variables: str, after: str) -> str:
        """Return the PL/pgSQL that stores the row of ``before SELECT columns after``."""
        return f"{before} SELECT {columns} INTO {variables} {after};"


class ShardTables(TriggerTables):
    """Names that are filled in when a statement is executed: ``%1$s`` is the members' shard."""

    def is_empty(self, member: str) -> str:
        """Return the condition; a shard's row has another type, with the same columns."""
        return super().is_empty(f"ROW({member}.*)::public.audience_members")

    def run(self, statement: str) -> str:
        """Return the EXECUTE of a statement."""
        return f"{_execute(statement)} {_USING};"

    def perform(self, query: str) -> str:
        """Return the EXECUTE of a query whose result is dropped."""
        return self.run(f"SELECT {query}")

    def select_into(self, before: str, columns: str, variables: str, after: str) -> str:
        """Return the EXECUTE of a query whose row is stored."""
        return f"{_execute(f'{before} SELECT {columns} {after}')} INTO {variables} {_USING};"


_USING = "USING homes, places"


def _execute(statement: str) -> str:
    # format() reads it: a % that belongs to a statement would have to be doubled.
    return f"EXECUTE format($sql${statement}$sql$, members, TG_RELID::regclass)"


def plain_tables(source: Source) -> TriggerTables:
    """Return the names on a server without Citus."""
    members = "public.audience_members"
    return TriggerTables(members, members, f"public.{source.table}")


SHARD_TABLES = ShardTables(
    "%1$s",
    "%1$s AS audience_members",
    "%2$s",
    homes="$1",
    places="$2",
    declare="members text;",
    begin=FIND_SHARDS,
)
"""The names in the triggers of shards."""
