"""Idle workers: what each costs PostgreSQL and Redis, and whether the store notices them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import linear_regression

import httpx
import psutil

from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.processes.subprocesses import BenchmarkFailed
from benchmarks.reporting.figures import Figure
from benchmarks.reporting.result import ScenarioResult
from benchmarks.reporting.targets import IDLE_FLEET, IDLE_STORE
from benchmarks.stub_servers.s3 import COUNT_PATH
from devstack.sandbox import Process
from devstack.service_processes import start_worker

MANY = 100
"""The size of the fleet that is extrapolated to."""

MINUTE_S = 60

OFTEN_S = "2"
"""The store is listed once an hour: for as long as it is counted, as often as this many seconds."""


@dataclass(frozen=True)
class Watched:
    """What a fleet of idle workers used: cores (processor seconds a second), and requests."""

    workers: int
    postgres: float
    redis: float
    store_per_min: float

    @property
    def cores(self) -> float:
        """What PostgreSQL and Redis used together."""
        return self.postgres + self.redis


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Watch idle fleets of several sizes, and extrapolate the slope of their costs to ``MANY``."""
    environment.stop_worker()
    sizes = sorted({1, max(2, options.workers // 2), options.workers})
    fleets = [watch(environment, size, options.idle_s) for size in sizes]
    often = [
        watch(environment, size, options.idle_s, CLEANUP_INTERVAL_S=OFTEN_S)
        for size in (sizes[0], sizes[-1])
    ]
    per_worker, base = linear_regression(
        [each.workers for each in fleets], [each.cores for each in fleets]
    )
    one, all_ = (each.store_per_min for each in often)
    if not one:
        raise BenchmarkFailed(f"no worker asked the store for anything in {options.idle_s:.0f} s")
    return ScenarioResult(
        (
            *(figure for each in fleets for figure in figures_of(each)),
            Figure("one idle worker more: PostgreSQL and Redis", (per_worker * 1000,), "mcores"),
            Figure(
                f"{MANY} idle workers, extrapolated: PostgreSQL and Redis",
                (base + per_worker * MANY,),
                "cores",
                goal=IDLE_FLEET,
            ),
            Figure(
                f"{sizes[-1]} idle workers: S3 requests over those of one (cleanup: {OFTEN_S} s)",
                (all_ / one,),
                goal=IDLE_STORE,
            ),
        )
    )


def watch(environment: Environment, workers: int, idle_s: float, **settings: str) -> Watched:
    """Start a fleet with these changes to the settings, wait until it is idle, and watch it."""
    with fleet(environment, workers, **settings):
        time.sleep(idle_s / 2)  # connections, prepared statements, the first periodic tasks
        began = time.monotonic()
        before = usage(environment)
        time.sleep(idle_s)
        used = [now - then for now, then in zip(usage(environment), before, strict=True)]
        seconds = time.monotonic() - began
    postgres_s, redis_s, requests = used
    return Watched(workers, postgres_s / seconds, redis_s / seconds, requests / seconds * MINUTE_S)


@contextmanager
def fleet(environment: Environment, workers: int, **settings: str) -> Iterator[None]:
    """Run this many worker processes, without a metrics port each, while the context is open."""
    own = environment.settings | settings | {"WORKER_METRICS_PORT": ""}
    environment.query("TRUNCATE periodic_tasks")  # the hour of a fleet before, too
    running: list[Process] = []
    try:
        running.extend(
            start_worker(environment.sandbox, own, name=f"fleet-{number}")
            for number in range(workers)
        )
        yield
    finally:
        for process in running:
            process.stop()


def usage(environment: Environment) -> tuple[float, float, float]:
    """Return the processor seconds of PostgreSQL and of Redis so far, and the store's requests."""
    redis = psutil.Process(environment.redis.pid).cpu_times()
    requests = int(httpx.get(f"{environment.s3_url}/{COUNT_PATH}").text)
    return postgres_s(environment.postgres.pid), redis.user + redis.system, requests


def postgres_s(pid: int) -> float:
    """Return the processor seconds of a postmaster and of its processes, those that ended too."""
    postmaster = psutil.Process(pid)
    times = postmaster.cpu_times()
    seconds = times.user + times.system + times.children_user + times.children_system
    for child in postmaster.children(recursive=True):
        used = child.cpu_times()
        seconds += used.user + used.system
    return float(seconds)


def figures_of(watched: Watched) -> Iterator[Figure]:
    """Yield what a fleet used."""
    name = f"{watched.workers} idle workers: "
    yield Figure(f"{name}PostgreSQL", (watched.postgres,), "cores")
    yield Figure(f"{name}Redis", (watched.redis,), "cores")
    yield Figure(f"{name}S3 requests", (watched.store_per_min,), "/min")
