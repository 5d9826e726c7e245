"""The page for three in the morning: symptoms first, links that lead on, figures of the code."""

import re

import pytest
from sqlalchemy.pool import QueuePool

from app.config import Settings
from app.database import create_engine
from app.exports.streams import HELD_BYTES
from devstack.service import ROOT
from tests.ops.test_kubernetes import MANIFESTS

PAGE = ROOT / "docs" / "operations.md"
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


@pytest.fixture
def page() -> str:
    """What docs/operations.md says."""
    return PAGE.read_text()


def headings(text: str) -> list[str]:
    """Return a page's headings as their anchors."""
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in found]


def connections(pool_size: int) -> int:
    """Return how many connections an engine may open."""
    pool = create_engine("postgresql://127.0.0.1:9/none", pool_size).pool
    assert isinstance(pool, QueuePool)
    return pool.size() + pool._max_overflow


def default(setting: str) -> int:
    """Return a setting's default."""
    value: int = Settings.model_fields[setting].default
    return value


def test_symptoms_come_before_everything_else(page: str) -> None:
    order = headings(page)
    first = ["alerts", "what-you-see-what-happened-what-to-do", "while-something-is-away"]
    assert order[1:4] == first


def test_links_lead_somewhere(page: str) -> None:
    for path, anchor in LINK.findall(page):
        target = (PAGE.parent / path).resolve() if path else PAGE
        assert target.exists(), path
        if anchor:
            assert anchor in headings(target.read_text()), (path, anchor)


def test_connections_are_counted_as_the_code_opens_them(page: str) -> None:
    primary = connections(default("database_pool_size"))
    audience = connections(default("worker_concurrency") * default("export_streams"))
    assert f"| 2 × `DATABASE_POOL_SIZE` | {primary} |" in page
    assert f"| 2 × `WORKER_CONCURRENCY` × `EXPORT_STREAMS` | {audience} |" in page
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
    further = (parts + HELD_BYTES * default("export_streams")) // mebibyte
    held = f"{HELD_BYTES // mebibyte} MiB × `EXPORT_STREAMS`"
    reckoned = f"`PART_BYTES` × (`PARTS_IN_FLIGHT` + 1) + {held}"
    assert f"{reckoned} = {further} MiB" in page
    assert f"at the default `WORKER_CONCURRENCY` of {default('worker_concurrency')}" in page
