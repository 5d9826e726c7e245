"""Resources of the simulation are held for a time, in turn."""

from functools import partial

from benchmarks.simulation.engine import Clock, Resource, occupy


def test_actions_run_at_their_times_and_in_order() -> None:
    clock = Clock()
    seen: list[str] = []
    for name, seconds in (("b", 2.0), ("a", 1.0), ("c", 2.0)):
        clock.after(seconds, partial(seen.append, name))
    clock.run(until=1.5)
    assert (seen, clock.now) == (["a"], 1.0)
    clock.run()
    assert (seen, clock.now) == (["a", "b", "c"], 2.0)


def ends(servers: int, jobs: list[tuple[str, bool]]) -> list[tuple[str, float]]:
    """Return when jobs of a second each end; of each, its name and whether it gives way."""
    clock, resource = Clock(), Resource(servers)
    ended: list[tuple[str, float]] = []
    for name, gives_way in jobs:
        done = partial(lambda name: ended.append((name, clock.now)), name)
        occupy(clock, [resource], 1.0, done, gives_way=gives_way)
    clock.run()
    return ended


def test_as_many_hold_a_resource_as_it_has_servers() -> None:
    jobs = [(name, False) for name in "abc"]
    assert ends(2, jobs) == [("a", 1.0), ("b", 1.0), ("c", 2.0)]


def test_who_gives_way_waits_for_those_who_came_later() -> None:
    jobs = [("a", False), ("large", True), ("b", False)]
    assert ends(1, jobs) == [("a", 1.0), ("b", 2.0), ("large", 3.0)]


def test_several_resources_are_held_together_and_all_given_back() -> None:
    clock, loop, core = Clock(), Resource(1), Resource(1)
    ended: list[str] = []
    occupy(clock, [core], 3.0, partial(ended.append, "core alone"))
    occupy(clock, [loop, core], 1.0, partial(ended.append, "both"))
    occupy(clock, [loop], 1.0, partial(ended.append, "loop alone"))
    clock.run()
    assert (ended, clock.now) == (["core alone", "both", "loop alone"], 5.0)
