"""A large export has more streams as long as each makes it a tenth faster."""

from collections.abc import Callable

import pytest

from app.config import Settings
from app.exports.execution.stream_growth import StreamGrowth, StreamLimits, stream_limits

GROWS = StreamLimits(2, 8)
RANGE_BYTES = 1_000_000


class Copy:
    """A copy whose speed depends on its streams, in bytes a second, by a clock of the test."""

    def __init__(self, speed: Callable[[int], float], limits: StreamLimits = GROWS) -> None:
        self.speed = speed
        self.seconds = 0.0
        self.written = 0
        self.growth = StreamGrowth(limits, lambda: self.seconds)

    def read(self, ranges: int) -> list[int]:
        """Read ranges, and return how many streams there were, without repetitions."""
        counts = [self.growth.streams]
        for _ in range(ranges):
            self.seconds += RANGE_BYTES / self.speed(self.growth.streams)
            self.written += RANGE_BYTES
            self.growth.note_range(self.written)
            if self.growth.streams != counts[-1]:
                counts.append(self.growth.streams)
        return counts


def scaling_up_to(cores: int) -> Callable[[int], float]:
    """Return a speed of 40 MB/s for each stream that has a core."""
    return lambda streams: 40e6 * min(streams, cores)


@pytest.mark.parametrize(
    ("cores", "counts"),
    [(2, [2, 3, 2]), (4, [2, 3, 4, 5, 4]), (7, [2, 3, 4, 5, 6, 7, 8, 7]), (16, [*range(2, 9)])],
)
def test_streams_are_added_while_each_has_a_core(cores: int, counts: list[int]) -> None:
    assert Copy(scaling_up_to(cores)).read(2000) == counts


def test_a_stream_that_makes_it_a_twentieth_faster_is_retired() -> None:
    assert Copy(lambda streams: 40e6 * 1.05**streams).read(2000) == [2, 3, 2]


def test_the_number_is_settled_by_the_first_that_does_not_help() -> None:
    copy = Copy(scaling_up_to(2))
    copy.read(500)
    copy.speed = scaling_up_to(16)
    assert copy.read(2000) == [2]


def test_a_window_is_long_enough_and_of_enough_ranges() -> None:
    fast = Copy(lambda _: 1e9)
    assert fast.read(400) == [2], "0.4 s"
    slow = Copy(lambda _: 0.5e6)
    assert slow.read(16) == [2], "16 ranges, the first of which begins the window"
    assert slow.read(1) == [2, 3]


def test_what_was_disturbed_is_not_measured() -> None:
    copy = Copy(scaling_up_to(4))
    for _ in range(300):
        assert copy.read(10) == [2]
        copy.growth.drop_window()


def test_pauses_are_left_out_of_the_measurement() -> None:
    copy = Copy(scaling_up_to(4))
    counts = [2]
    for number in range(2000):
        if number % 10 == 0:
            copy.seconds += 0.1 * (number % 3)
            for _ in range(copy.growth.streams):
                copy.growth.note_pause(0.1 * (number % 3))
        counts += copy.read(1)[1:]
    assert counts == [2, 3, 4, 5, 4]


def test_none_is_added_once_it_is_settled() -> None:
    copy = Copy(scaling_up_to(16))
    copy.growth.settle()
    assert copy.read(2000) == [2]


def test_a_number_that_is_set_is_kept() -> None:
    assert Copy(scaling_up_to(16), StreamLimits(5, 5)).read(2000) == [5]


def test_only_large_exports_grow() -> None:
    unset = Settings.model_construct(export_streams=None)
    assert stream_limits(unset) == StreamLimits(2, 8)
    assert stream_limits(unset, "small") == StreamLimits(2, 2)
    assert stream_limits(Settings.model_construct(export_streams=3), "small") == StreamLimits(3, 3)
