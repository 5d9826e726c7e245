"""What routes are given is found in the event loop: a thread for each costs more than the work."""

from collections.abc import Iterator
from inspect import iscoroutinefunction
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from app.api.routers import demo
from app.main import ROUTERS


def calls(dependant: Dependant) -> Iterator[Any]:
    """Yield what FastAPI calls before a route, and for it."""
    for needed in dependant.dependencies:
        yield from calls(needed)
    yield dependant.call


def runs_in_the_loop(call: Any) -> bool:
    return iscoroutinefunction(call) or iscoroutinefunction(getattr(call, "__call__", None))  # noqa: B004 - is it awaited


def test_no_route_and_nothing_it_needs_waits_for_a_thread() -> None:
    """Except for the demo's own, which reads a mailbox's files."""
    routes = [
        each
        for router in ROUTERS
        if router is not demo.router
        for each in router.routes
        if isinstance(each, APIRoute)
    ]
    waiting = {
        call for each in routes for call in calls(each.dependant) if not runs_in_the_loop(call)
    }
    assert len(routes) > 10
    assert waiting == set()
