"""The alerts: promtool takes them, tests each, and they name what the code shows."""

import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]  # it brings no types

from devstack.sandbox import Sandbox, free_port
from devstack.service_processes import ROOT, start_api, start_worker
from tests.ops import promql
from tests.ops.known_metrics import known_metrics
from tests.polling import until

FOLDER = ROOT / "ops" / "prometheus"
ALERTS_PAGE = ROOT / "docs" / "troubleshoot.md"


def promtool(*arguments: str | Path, text: str | None = None) -> str:
    """Run promtool among the rules; it must find nothing."""
    done = subprocess.run(
        ["promtool", *arguments], cwd=FOLDER, input=text, capture_output=True, text=True
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def rules(kind: str) -> dict[str, dict[str, Any]]:
    """Return the rules of a kind, ``alert`` or ``record``, by name."""
    parsed = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    return {
        rule[kind]: rule for group in parsed["groups"] for rule in group["rules"] if kind in rule
    }


@pytest.mark.promtool
def test_promtool_takes_the_sample_and_its_rules() -> None:
    assert "1 rule files found" in promtool("check", "config", "prometheus.yml")


@pytest.mark.promtool
def test_promtool_sees_each_alert_fire_when_it_should() -> None:
    promtool("test", "rules", "alerts_test.yml")


def test_each_alert_is_seen_to_fire_and_to_be_silent() -> None:
    parsed = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())
    cases = [case for test in parsed["tests"] for case in test["alert_rule_test"]]
    firing = {case["alertname"] for case in cases if case["exp_alerts"]}
    silent = {case["alertname"] for case in cases if not case["exp_alerts"]}
    assert firing == silent == rules("alert").keys()


def test_rules_ask_for_what_the_code_shows() -> None:
    known = known_metrics()
    for name, rule in rules("record").items():
        query = promql.read(rule["expr"])
        assert query.metrics <= known.keys(), name
        known[name] = query.grouped
    labels = frozenset().union(*known.values())
    for name, rule in (rules("record") | rules("alert")).items():
        query = promql.read(rule["expr"])
        assert query.metrics <= known.keys(), name
        assert query.grouped <= labels, name
        assert all(label in known[metric] for metric, label in query.matched), name


def test_an_alert_on_a_metric_that_is_gone_would_be_noticed() -> None:
    query = promql.read('sum by (le) (rate(audience_export_gone_total{status=~"a|b"}[5m])) > 1')
    assert query.metrics == {"audience_export_gone_total"}
    assert query.matched == {("audience_export_gone_total", "status")}
    assert query.grouped == {"le"}


def test_each_alert_says_whom_to_wake_and_where_to_read_on() -> None:
    for rule in rules("alert").values():
        assert rule["labels"]["severity"] in ("page", "ticket")
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert f"## {anchor}\n" in (ROOT / page).read_text().lower()


def test_each_alert_has_its_line_in_the_runbook() -> None:
    lines = re.findall(
        r"^\| `(Audience\w+)` \| .+ \| .+ \|$", ALERTS_PAGE.read_text(), re.MULTILINE
    )
    assert sorted(lines) == sorted(rules("alert"))


def test_the_samples_jobs_are_those_that_rules_ask_for() -> None:
    parsed = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    jobs = {job["job_name"] for job in parsed["scrape_configs"]}
    named = re.findall(r'job="([^"]+)"', (FOLDER / "alerts.yml").read_text())
    assert set(named) <= jobs == {"audience-export-api", "audience-export-worker"}


@pytest.mark.promtool
async def test_promtool_finds_nothing_to_blame_in_a_real_scrape(
    sandbox: Sandbox, service_environment: dict[str, str]
) -> None:
    ports = free_port(), free_port()
    settings = service_environment | {"WORKER_METRICS_PORT": str(ports[1])}
    api = start_api(sandbox, settings, ports[0])
    worker = start_worker(sandbox, settings)
    try:
        for port in ports:
            await until(lambda port=port: _is_scraped(port))  # type: ignore[misc]  # bound at once
    finally:
        worker.stop()
        api.stop()


async def _is_scraped(port: int) -> bool:
    try:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{port}/metrics")
    except httpx.TransportError:
        return False
    promtool("check", "metrics", text=answer.text)
    return "audience_export_build_info" in answer.text
