"""Signals of a foreground command: the first one stops it cleanly, a second one at once."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType


class StopRequested(BaseException):
    """SIGINT or SIGTERM has arrived."""


@contextlib.contextmanager
def run_until_signal() -> Iterator[None]:
    """Run the block until it ends or SIGINT or SIGTERM arrives, which raises no exception outside.

    A second signal ends the process immediately; watchdogs then stop its children.
    """
    stopping = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            os._exit(128 + number)
        stopping = True
        raise StopRequested

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    with contextlib.suppress(StopRequested):
        yield
