"""Which rights on the service's schema a role lacks for the migrations."""

from app.database.database import Queryable

# Where there is no such schema, has_schema_privilege() returns NULL.
MISSING = """
SELECT string_agg(privilege, ', ') AS missing
FROM unnest(ARRAY['USAGE', 'CREATE']) AS privilege
WHERE NOT coalesce(has_schema_privilege(to_regnamespace('public'), privilege), false)
"""


async def missing_schema_rights(database: Queryable) -> str | None:
    """Return in one sentence which rights the connected role lacks; ``None`` if it lacks none."""
    ((missing,),) = await database.fetch(MISSING)
    if missing is None:
        return None
    return f"The role lacks {missing} on schema public: GRANT {missing} ON SCHEMA public TO it."
