"""What may be said aloud: every log line of this process, without what must not leak."""

import logging
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any

import structlog

LEAKS = (
    (re.compile(r"\beyJ[\w-]*\.[\w-]+\.?[\w-]*"), "[token]"),
    (re.compile(r"(?<=/d/)[^\s\"'?#]+"), "[token]"),
    (re.compile(r"\?[^\s\"']*(?:X-Amz-|Signature=)[^\s\"']*", re.IGNORECASE), "?[signed]"),
    (re.compile(r"(?<=://)[^\s/]*:[^\s/]*@"), "[secret]@"),
    (re.compile(r"[^\s@<>\"'(),;:=\[\]{}]+@[^\s@<>\"'(),;:\[\]{}]+\.[^\W\d_]{2,}"), "[address]"),
)
"""Tokens, mailed links, presigned queries, passwords in addresses, e-mail addresses.

Nothing logs these on purpose. This is for what libraries and their exceptions
say of their own accord: uvicorn's access log has the path of a mailed link,
PostgreSQL's errors have the values at fault.
"""


def scrubbed(words: str) -> str:
    """Return ``words`` without anything that only its owner may know."""
    for leak, name in LEAKS:
        words = leak.sub(name, words)
    return words


def configure_logs() -> None:
    """Let structlog, ``logging`` and uncaught exceptions of this process speak scrubbed.

    structlog's own default would print the local variables of every frame.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.set_exc_info,
            structlog.processors.format_exc_info,
            scrub_event,
            _renderer(),
        ]
    )
    logging.setLogRecordFactory(scrubbed_record)
    sys.excepthook = print_scrubbed


def scrub_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Scrub one structlog event: a processor, before the renderer."""
    return {name: _value(value) for name, value in event.items()}


def scrubbed_record(*arguments: Any, **named: Any) -> logging.LogRecord:
    """Make a log record whose message, arguments and traceback are scrubbed.

    The arguments stay apart: uvicorn's formatter takes them one by one.
    """
    record = logging.LogRecord(*arguments, **named)
    record.msg = _value(record.msg)
    if isinstance(record.args, Mapping):
        record.args = {name: _value(value) for name, value in record.args.items()}
    elif record.args:
        record.args = tuple(map(_value, record.args))
    if record.exc_info and record.exc_info[0]:
        record.exc_text = scrubbed("".join(traceback.format_exception(*record.exc_info))).rstrip()
    return record


def print_scrubbed(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an uncaught exception, as Python does but scrubbed."""
    sys.stderr.write(scrubbed("".join(traceback.format_exception(kind, error, trace))))


def _value(value: Any) -> Any:
    """Return a value as it is where it says nothing, and as scrubbed text where it would."""
    if isinstance(value, str):
        return scrubbed(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    said = f"{value} {value!r}"
    return value if scrubbed(said) == said else scrubbed(str(value))


def _renderer() -> structlog.typing.Processor:
    if sys.stdout.isatty():
        return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return structlog.processors.JSONRenderer(default=str, ensure_ascii=False)
