"""The service in the simulation: two lanes, workers with slots, the database's cores.

An export needs two things in turn: a core of the database's machine, and the event loop of its
worker. Each takes the same time for every export of a size: exponential times would add queueing
that bursts of equal exports do not have. A large export does so for each range of rows, in two
streams at once, and lets small ones go first on the loop. What is left out: the store, the mail
server and the network, which wait in parallel and take no core of these; retries; and turns
between sellers.
"""

from collections import deque
from dataclasses import dataclass, field
from functools import partial

from benchmarks.simulation.engine import Action, Clock, Resource, occupy

RANGE_ROWS = 25_000
STREAMS = 2


@dataclass(frozen=True)
class Costs:
    """Seconds of processor time.

    Attributes:
        small_loop, small_cores: Of a small export: on its worker's event loop, and on the
            database's cores.
        row_loop, row_cores: Of a row of a large export.
    """

    small_loop: float
    small_cores: float
    row_loop: float
    row_cores: float


@dataclass(frozen=True)
class Fleet:
    """The machines.

    Attributes:
        workers: Worker processes, of both lanes.
        cores: The cores of the database's machine.
        shares_cores: Whether the workers run on them too; else each has a core elsewhere.
        queued_max: ``MAX_QUEUED_EXPORTS``: above it requests are refused.
        small_slots, large_slots: Exports of each lane that a worker runs at once.
    """

    workers: int
    cores: int
    shares_cores: bool = False
    queued_max: int = 10_000
    small_slots: int = 3
    large_slots: int = 1


@dataclass
class Outcome:
    """What became of the requests; the times are seconds from the request to the end.

    Attributes:
        refused: Requests that were answered 503.
        ended_at: When the last export ended.
        drained_at: When for the first time no export waited any longer for a worker.
    """

    small_s: list[float] = field(default_factory=list)
    large_s: list[float] = field(default_factory=list)
    refused: int = 0
    ended_at: float = 0.0
    drained_at: float | None = None


@dataclass(frozen=True)
class Request:
    """A request at a time: a small export, or a large one with its rows."""

    at: float
    rows: int = 0


class Service:
    """Runs requests on a fleet; :attr:`outcome` has what became of them."""

    def __init__(self, clock: Clock, fleet: Fleet, costs: Costs) -> None:
        self.outcome = Outcome()
        self._clock = clock
        self._fleet = fleet
        self._costs = costs
        self._cores = Resource(fleet.cores)
        self._waiting: dict[bool, deque[Request]] = {True: deque(), False: deque()}
        self._loops = [Resource(1) for _ in range(fleet.workers)]
        self._slots: dict[bool, deque[Resource]] = {True: deque(), False: deque()}

    def start_workers(self) -> None:
        """Let every worker take exports from now on."""
        slots = {False: self._fleet.small_slots, True: self._fleet.large_slots}
        for is_large, number in slots.items():
            # A slot of each worker in turn, as idle workers take from one queue.
            self._slots[is_large].extend(self._loops * number)
            for _ in range(len(self._slots[is_large])):
                self._take(is_large)

    def submit(self, request: Request) -> None:
        """Add a request to its lane, unless too many wait."""
        is_large = request.rows > 0
        if self.waiting >= self._fleet.queued_max:
            self.outcome.refused += 1
            return
        self._waiting[is_large].append(request)
        self._take(is_large)

    @property
    def waiting(self) -> int:
        """How many exports wait for a slot."""
        return sum(map(len, self._waiting.values()))

    def _take(self, is_large: bool) -> None:
        if not self._waiting[is_large] or not self._slots[is_large]:
            return
        request, loop = self._waiting[is_large].popleft(), self._slots[is_large].popleft()
        if not self.waiting and self.outcome.drained_at is None:
            self.outcome.drained_at = self._clock.now

        def ended() -> None:
            self._end(request, loop)

        if is_large:
            self._run_large(request, loop, ended)
        else:
            self._step(loop, self._costs.small_cores, self._costs.small_loop, ended)

    def _end(self, request: Request, loop: Resource) -> None:
        is_large = request.rows > 0
        times = self.outcome.large_s if is_large else self.outcome.small_s
        times.append(self._clock.now - request.at)
        self.outcome.ended_at = self._clock.now
        self._slots[is_large].append(loop)
        self._take(is_large)

    def _run_large(self, request: Request, loop: Resource, ended: Action) -> None:
        """Read the ranges of a large export in streams; call ``ended`` after the last."""
        left = [max(1, request.rows // RANGE_ROWS)]
        reading = [STREAMS]

        def read() -> None:
            if left[0]:
                left[0] -= 1
                costs = self._costs
                cores, on_loop = RANGE_ROWS * costs.row_cores, RANGE_ROWS * costs.row_loop
                self._step(loop, cores, on_loop, read, gives_way=True)
                return
            reading[0] -= 1
            if not reading[0]:
                ended()

        for _ in range(STREAMS):
            read()

    def _step(
        self,
        loop: Resource,
        cores_s: float,
        loop_s: float,
        then: Action,
        *,
        gives_way: bool = False,
    ) -> None:
        """Use a core of the database, then the loop."""
        on_loop = [loop, self._cores] if self._fleet.shares_cores else [loop]

        def write() -> None:
            occupy(self._clock, on_loop, loop_s, then, gives_way=gives_way)

        occupy(self._clock, [self._cores], cores_s, write)


def simulate(
    requests: list[Request], fleet: Fleet, costs: Costs, *, workers_start_at: float = 0.0
) -> Outcome:
    """Run requests, in the order of their times, until the last has ended."""
    clock = Clock()
    service = Service(clock, fleet, costs)
    clock.after(workers_start_at, service.start_workers)
    for request in requests:
        clock.after(request.at, partial(service.submit, request))
    clock.run()
    return service.outcome
