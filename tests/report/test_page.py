"""The page of plots as HTML."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from app.report.page import POLICY, STYLE, STYLE_HASH, statistics_page
from app.statistics.queries import FAILURE_RATE_HIGH, ExportCounts
from devstack.service_processes import ROOT
from tests.report.statistics import MADE_AT, no_statistics, some_statistics

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Outline(HTMLParser):
    """Checks that what is opened is closed, and remembers every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(page: str) -> Outline:
    parsed = Outline()
    parsed.feed(page)
    assert not parsed.open
    return parsed


def test_the_page_is_well_formed_and_runs_and_loads_nothing() -> None:
    for statistics in (some_statistics(), some_statistics(1), some_statistics(800)):
        page = outline(statistics_page(statistics, MADE_AT, is_served=True))
        tags = {tag for tag, _ in page.seen}
        assert not tags & {"script", "link", "img", "iframe", "object", "form"}
        for _, attributes in page.seen:
            assert not attributes.keys() & {"style", "src", "onclick", "onload"}
    assert f"'sha256-{STYLE_HASH}'" in POLICY


def test_every_plot_has_a_name_and_a_description() -> None:
    page = outline(statistics_page(some_statistics(), MADE_AT, is_served=True))
    ids = [attributes["id"] for _, attributes in page.seen if "id" in attributes]
    assert len(set(ids)) == len(ids)
    plots = [a for tag, a in page.seen if tag == "svg" and a.get("role") == "img"]
    assert len(plots) == 3
    for attributes in plots:
        assert set(str(attributes["aria-labelledby"]).split()) <= set(ids)


def test_the_figures_are_on_the_page() -> None:
    statistics = some_statistics()
    page = statistics_page(statistics, MADE_AT, is_served=True)
    assert f"<dd>{statistics.total.requested:,}</dd>" in page
    assert "24 October – 22 November 2026" in page
    assert "storage_unavailable" in page
    assert 'href="?days=90"' in page


def test_changes_and_what_they_compare_are_on_the_page() -> None:
    page = statistics_page(some_statistics(), MADE_AT, is_served=True)
    assert '<dd class="change">+14 %</dd>' in page
    assert "Changes compare the 29 full days before today with the 29 before those." in page
    alone = statistics_page(some_statistics(1), MADE_AT, is_served=True)
    assert 'class="change"' not in alone
    assert "Changes" not in alone


def test_today_is_marked_as_unfinished() -> None:
    page = statistics_page(some_statistics(), MADE_AT, is_served=True)
    assert "today is not over" in page
    assert page.count("<title>Today is not over</title>") == 2
    assert '<th scope="row">22 Nov, so far</th>' in page
    assert ">21 Nov</th>" in page


@pytest.mark.parametrize(("failed", "is_red"), [(0, False), (1, False), (50, False), (51, True)])
def test_the_failure_rate_is_red_only_above_the_threshold_that_the_page_states(
    failed: int, is_red: bool
) -> None:
    total = ExportCounts(1000, 1000 - failed, failed)
    page = statistics_page(replace(some_statistics(), total=total), MADE_AT, is_served=True)
    assert ('<div class="bad">' in page) is is_red
    assert (f"{failed} of 1,000 ended, above 5 %" in page) is is_red
    assert "A failure rate above 5 % is marked in red." in page


def test_the_threshold_is_the_alerts() -> None:
    rules = (ROOT / "ops" / "prometheus" / "alerts.yml").read_text()
    alert = rules.partition("alert: AudienceExportsFailing")[2].partition("- alert:")[0]
    assert f"> {FAILURE_RATE_HIGH}\n" in alert


def test_the_style_uses_nothing_that_supported_browsers_lack() -> None:
    assert not re.search(r"light-dark|color-mix|oklch|dvh|@layer|@container", STYLE)


def test_a_page_in_a_file_leads_nowhere() -> None:
    assert "href" not in statistics_page(some_statistics(), MADE_AT, is_served=False)


def test_a_page_of_nothing_says_so() -> None:
    page = statistics_page(no_statistics(), MADE_AT, is_served=True)
    outline(page)
    assert "None has failed on these days." in page
    assert "Nobody has asked on these days." in page


def test_what_a_row_says_is_text_and_no_markup() -> None:
    statistics = replace(some_statistics(), errors={"<script>alert(1)</script>": 1})
    page = statistics_page(statistics, MADE_AT, is_served=True)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
