"""The operator's pages: symptoms first, and figures and settings as in the code."""

import re

import pytest
from pydantic_core import PydanticUndefined
from sqlalchemy.pool import QueuePool

from app.config import BEGIN_STREAMS, GROWN_STREAMS, Settings
from app.database.connections import create_engine
from app.exports.execution.parallel_copy import BUFFERED_BYTES
from devstack.service_processes import ROOT
from tests.chaos.upgrade import COURSE, Stage
from tests.docs.pages import anchors
from tests.ops.test_kubernetes import MANIFESTS

DOCS = ROOT / "docs"
DEFAULTS = Settings.model_construct()
SETTING = re.compile(r"^\| `([A-Z][A-Z0-9_]+)` \| .+ \| (.+) \|$", re.MULTILINE)


@pytest.fixture
def page() -> str:
    """What docs/deploy.md says."""
    return (DOCS / "deploy.md").read_text()


def connections(pool_size: int) -> int:
    """Return how many connections an database may open."""
    pool = create_engine("postgresql://127.0.0.1:9/none", pool_size).pool
    assert isinstance(pool, QueuePool)
    return pool.size() + pool._max_overflow


def default(setting: str) -> int:
    """Return a setting's default."""
    value: int = Settings.model_fields[setting].default
    return value


def as_documented(value: object) -> str | None:
    """Return a default as the page writes it, None where it says it in words."""
    if isinstance(value, bool):
        return "off"
    if isinstance(value, int | float):
        return str(int(value))
    return value if isinstance(value, str) else None


def test_symptoms_come_before_everything_else() -> None:
    first = ["alerts", "symptoms", "while-something-is-unavailable"]
    assert anchors(DOCS / "troubleshoot.md")[1:4] == first


def test_every_setting_is_documented_with_its_default() -> None:
    documented = dict(SETTING.findall((DOCS / "settings.md").read_text()))
    fields = {name.upper(): field.default for name, field in Settings.model_fields.items()}
    assert documented.keys() == fields.keys()
    for name, value in fields.items():
        assert (documented[name] == "required") == (value is PydanticUndefined), name
        if shown := as_documented(value):
            assert documented[name].split(" (")[0].strip("`") == shown, name


def test_the_readme_names_the_settings_without_a_default() -> None:
    readme = (ROOT / "README.md").read_text()
    documented = dict(SETTING.findall((DOCS / "settings.md").read_text()))
    required = {name for name, value in documented.items() if value == "required"}
    assert all(f"`{name}`" in readme for name in (*required, "AUTH_JWT_SECRET", "AUTH_JWKS_URL"))


def test_connections_are_counted_as_the_code_opens_them(page: str) -> None:
    primary = connections(default("database_pool_size"))
    audience = connections(DEFAULTS.audience_pool_size)
    assert f"| 2 × `DATABASE_POOL_SIZE` | {primary} |" in page
    grown = GROWN_STREAMS - BEGIN_STREAMS
    unset = f"2 × ({BEGIN_STREAMS} × `WORKER_CONCURRENCY` + {grown} × `LARGE_EXPORT_CONCURRENCY`)"
    assert f"2 × `WORKER_CONCURRENCY` × `EXPORT_STREAMS`, or where that is unset {unset}" in page
    assert f" | {audience} |" in page
    assert f"come to {4 * (primary + audience)} at the very most" in page
    scaled = sum(
        manifest["spec"]["maxReplicas"]
        for manifest in MANIFESTS.values()
        if manifest["kind"] == "HorizontalPodAutoscaler"
    )
    assert f"to {scaled} processes, {scaled * (primary + audience)}" in page


def test_memory_is_reckoned_by_the_settings(page: str) -> None:
    mebibyte = 1024 * 1024
    parts = default("part_bytes") * (default("parts_in_flight") + 1)
    small, large = (
        (parts + BUFFERED_BYTES * streams) // mebibyte for streams in (BEGIN_STREAMS, GROWN_STREAMS)
    )
    reckoned = "`PART_BYTES` × (`PARTS_IN_FLIGHT` + 1) + 0.5 MiB × streams"
    assert mebibyte / 2 == BUFFERED_BYTES
    assert f"{reckoned} = {small} MiB" in page
    assert f"{large} MiB for one with {GROWN_STREAMS} streams" in page
    assert f"at the default `WORKER_CONCURRENCY` of {default('worker_concurrency')}" in page


def test_the_upgrade_that_is_run_has_the_stages_of_the_page(page: str) -> None:
    rows = re.findall(r"^\| (old|new) \| (old|new) \| (old|new) \|", page, re.MULTILINE)
    assert {Stage(*row) for row in rows} == set(COURSE)


def test_a_migration_gives_up_a_lock_as_soon_as_the_page_says(page: str) -> None:
    """One second: that is how long it may stop writers, who wait behind it."""
    script = (ROOT / "migrations" / "env.py").read_text()
    assert re.search(r"^LOCK_TIMEOUT_S = 1$", script, re.MULTILINE)
    assert "A migration waits one second for a lock" in page
