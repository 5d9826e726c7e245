"""A database as after months of use: what the plans of statements are asked of."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from devstack.postgres import PostgresServer

EXPORTS = 300_000
AUDIT_ENTRIES = 1_000_000
DELIVERIES = 150_000

RETAINED_DAYS = 37
"""A week until the file expires, and thirty days of the row after that."""

FULL = (
    "exports",
    "export_audit",
    "webhook_deliveries",
    "idempotency_keys",
    "list_notices",
    "source_keys",
    "audience_members",
)

ROWS = {
    "exports": f"""
INSERT INTO exports (
    seller_id, id, status, sources, columns, spreadsheet_safe, bom, recipient_email, service,
    fingerprint, created_at, due_at, queue_order_at, lane, attempt, worker, lease_expires_at,
    started_at,
    snapshot_at, rows_exported, rows_estimated, finished_at, expires_at, object_key, file_name,
    file_rows, file_bytes, error_code, email_status, email_due_at, uncleaned_attempts
)
SELECT
    seller_id, id, status, '{{follower}}', '{{email}}', true, false,
    'seller' || seller_id || '@example.com', 'storefront', int8send(number), created_at,
    created_at, created_at, CASE WHEN number % 20 = 0 THEN 'large' ELSE 'small' END,
    (status <> 'queued')::int, CASE WHEN status <> 'queued' THEN 'worker-1:4711' END,
    CASE WHEN status = 'running' THEN now() + (number - 2100) * interval '1 second' END,
    CASE WHEN status <> 'queued' THEN created_at + interval '1 second' END,
    CASE WHEN status <> 'queued' THEN created_at + interval '1 second' END,
    number % 5000, number % 5000,
    CASE WHEN status NOT IN ('queued', 'running') THEN created_at + interval '2 seconds' END,
    CASE WHEN has_file THEN created_at + interval '7 days' END,
    CASE WHEN status = 'succeeded' THEN 'exports/' || seller_id || '/' || id || '/1.csv' END,
    CASE WHEN has_file THEN 'audience-' || seller_id || '-2026-11-22.csv' END,
    CASE WHEN has_file THEN number % 5000 END, CASE WHEN has_file THEN number % 5000 * 40 END,
    CASE WHEN status = 'failed' THEN 'storage_unavailable' END,
    CASE
        WHEN status IN ('succeeded', 'failed') AND number % 40 = 1 THEN 'pending'
        WHEN has_file OR status = 'failed' THEN 'sent'
    END,
    CASE WHEN status IN ('succeeded', 'failed') AND number % 40 = 1 THEN now() END,
    CASE
        WHEN number % 100 = 50 AND status NOT IN ('queued', 'running') THEN ARRAY[1]
        ELSE ARRAY[]::int[]
    END
FROM (
    SELECT *, status IN ('succeeded', 'expired', 'deleted') AS has_file
    FROM (
        SELECT
            number,
            CASE WHEN number % 10 = 0 THEN 1 ELSE 2 + number % 3000 END AS seller_id,
            uuidv7(-age) AS id,
            now() - age AS created_at,
            CASE
                WHEN number <= 2000 THEN 'queued'
                WHEN number <= 2200 THEN 'running'
                WHEN number % 100 IN (7, 8, 9) THEN 'failed'
                WHEN number % 100 = 11 THEN 'cancelled'
                WHEN number % 100 = 13 THEN 'deleted'
                WHEN age < interval '7 days 9 hours' THEN 'succeeded'
                ELSE 'expired'
            END AS status
        FROM generate_series(1, {EXPORTS}) AS number,
            LATERAL (SELECT number * interval '{RETAINED_DAYS} days' / {EXPORTS} AS age) AS aged
    ) AS timed
) AS stated
""",
    "export_audit": f"""
INSERT INTO export_audit (
    seller_id, id, export_id, action, actor, recipient_email, client_address, user_agent, at
)
SELECT
    2 + number % 3000, id, id, 'requested', 'storefront', 'seller@example.com',
    CASE WHEN age < interval '90 days 6 hours' THEN '203.0.113.7' END, NULL, now() - age
FROM generate_series(1, {AUDIT_ENTRIES}) AS number,
    LATERAL (SELECT number * interval '95 days' / {AUDIT_ENTRIES} AS age) AS aged,
    LATERAL (SELECT uuidv7(-age) AS id) AS named
""",
    "webhook_endpoints": """
INSERT INTO webhook_endpoints (service, url, secret, disabled_at)
SELECT 'service-' || number, 'http://127.0.0.1:9/' || number, 'whsec_AAAA',
    CASE WHEN number = 2 THEN now() END
FROM generate_series(1, 12) AS number
""",
    "webhook_deliveries": f"""
INSERT INTO webhook_deliveries (
    seller_id, id, export_id, service, body, status, attempts, due_at, created_at
)
SELECT
    2 + number % 3000, uuidv7(-age), uuidv7(-age),
    'service-' || CASE WHEN number % 5 > 0 THEN 1 ELSE 2 + number % 13 END,
    repeat('x', 400),
    CASE
        WHEN number <= 25000 THEN 'pending'
        WHEN number % 50 = 0 THEN 'failed'
        ELSE 'delivered'
    END,
    1, now() - age + interval '1 hour', now() - age
FROM generate_series(1, {DELIVERIES}) AS number,
    LATERAL (SELECT number * interval '18 seconds' AS age) AS aged
""",
    "idempotency_keys": """
INSERT INTO idempotency_keys (seller_id, key, fingerprint, export_id, created_at)
SELECT 2 + number % 3000, 'key-' || number, int8send(number), uuidv4(),
    now() - number * interval '1.75 seconds'
FROM generate_series(1, 50000) AS number
""",
    "list_notices": """
INSERT INTO list_notices (seller_id, export_id, status, created_at, due_at)
SELECT seller_id, id, CASE WHEN row_number() OVER (ORDER BY id DESC) < 100 THEN 'pending'
    ELSE 'sent' END, created_at, created_at
FROM exports
WHERE status IN ('succeeded', 'expired') AND file_rows > 4000
""",
    "source_keys": """
INSERT INTO source_keys (seller_id, source, key, version, row_id, deleted_at)
SELECT 2 + number % 3000, 'follower', 'key-' || number, number,
    CASE WHEN number % 2 = 0 THEN number END,
    CASE WHEN number % 2 = 1 THEN now() - number * interval '80 seconds' END
FROM generate_series(1, 100000) AS number
""",
    "audience_members": """
INSERT INTO audience_members (seller_id, email, follower_since)
SELECT CASE WHEN number <= 150000 THEN 1 ELSE 2 + number % 3000 END,
    'person' || number || '@example.com', now()
FROM generate_series(1, 200000) AS number
""",
}

INDEXES = """
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', conrelid::regclass, conname),
    format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname,
        pg_get_constraintdef(oid))
FROM pg_constraint
WHERE conrelid = '{table}'::regclass AND contype = 'p'
UNION ALL
SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
FROM pg_index
WHERE indrelid = '{table}'::regclass AND NOT indisprimary
"""


def fill(postgres: PostgresServer, database: str) -> None:
    """Fill a database at the newest schema and analyze it."""
    with ThreadPoolExecutor(2) as threads:
        deque(threads.map(partial(fill_table, postgres, database), ROWS), 0)


def fill_table(postgres: PostgresServer, database: str, table: str) -> None:
    """Fill one table; each index is built when the rows are there, which takes a fraction."""
    found = postgres.execute(INDEXES.format(table=table), database).splitlines()
    drops, builds = zip(*(line.split("|") for line in found), strict=True)
    statements = [
        f"ALTER TABLE {table} SET UNLOGGED",
        *drops,
        ROWS[table],
        *builds,
        f"ANALYZE {table}",
    ]
    postgres.execute(";".join(statements), database)
