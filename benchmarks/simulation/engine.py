"""Discrete events: a clock, resources that are held for a time, and who waits for them."""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count

Action = Callable[[], None]


class Clock:
    """Runs actions at their times, in order; those of one time as they were scheduled.

    Attributes:
        now: The simulated time, in seconds.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Action]] = []
        self._numbers = count()

    def after(self, seconds: float, action: Action) -> None:
        """Run ``action`` after ``seconds``."""
        heapq.heappush(self._due, (self.now + seconds, next(self._numbers), action))

    def run(self, until: float = float("inf")) -> None:
        """Run everything that is due until a time, or until nothing is."""
        while self._due and self._due[0][0] <= until:
            self.now, _, action = heapq.heappop(self._due)
            action()


class Resource:
    """``servers`` alike, such as the cores of a machine; an event loop has one.

    First come, first served; those that give way are served when nobody else waits.
    """

    def __init__(self, servers: int) -> None:
        self._free = servers
        self._first: deque[Action] = deque()
        self._last: deque[Action] = deque()

    def acquire(self, action: Action, *, gives_way: bool = False) -> None:
        """Run ``action`` as soon as a server is free; it is taken until :meth:`release`."""
        if self._free:
            self._free -= 1
            action()
        else:
            (self._last if gives_way else self._first).append(action)

    def release(self) -> None:
        """Give a server back, to who waits."""
        waiting = self._first or self._last
        if waiting:
            waiting.popleft()()
        else:
            self._free += 1


def occupy(
    clock: Clock,
    resources: Sequence[Resource],
    seconds: float,
    then: Action,
    *,
    gives_way: bool = False,
) -> None:
    """Take the resources one after the other, occupy them all for a time, and go on."""
    if not resources:
        clock.after(seconds, then)
        return
    first, rest = resources[0], resources[1:]

    def done() -> None:
        first.release()
        then()

    first.acquire(
        lambda: occupy(clock, rest, seconds, done, gives_way=gives_way), gives_way=gives_way
    )
