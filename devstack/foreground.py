"""A command in the foreground: the first signal ends it in good order, a second at once."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType


class Stopped(BaseException):
    """The user, or whoever supervises us, asked to stop."""


@contextlib.contextmanager
def until_stopped() -> Iterator[None]:
    """Run the block until it ends or SIGINT or SIGTERM arrives, and return normally then too.

    A second signal ends the process on the spot; guards stop what it started.
    """
    stopping = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            os._exit(128 + number)
        stopping = True
        raise Stopped

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    with contextlib.suppress(Stopped):
        yield
