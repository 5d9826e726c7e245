"""What may be said aloud: every log line of this process, without what must not leak."""

import logging
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any, Literal

import structlog

LogFormat = Literal["json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]

LEAKS = (
    (re.compile(r"(?<![\w-])eyJ[\w-]*\.[\w-]+\.?[\w-]*"), "[token]"),
    (re.compile(r"(?<=/d/)[^\s\"'?#]+"), "[token]"),
    (re.compile(r"\?[^\s\"'?]*(?:X-Amz-|Signature=)[^\s\"']*", re.IGNORECASE), "?[signed]"),
    (re.compile(r"(?<=://)[^\s/:]*:[^\s/]*@"), "[secret]@"),
    (re.compile(r"(?<=password=)[^\s&\"']+", re.IGNORECASE), "[secret]"),
    (
        re.compile(
            r"(?<![^\s@<>\"'(),;:=\[\]{}])[^\s@<>\"'(),;:=\[\]{}]+"
            r"@[^\s@<>\"'(),;:\[\]{}]+\.[^\W\d_]{2,}"
        ),
        "[address]",
    ),
)
"""Tokens, mailed links, presigned queries, passwords in addresses, e-mail addresses.

Nothing logs these on purpose. This is for what libraries and their exceptions
say of their own accord: uvicorn's access log has the path of a mailed link,
PostgreSQL's errors have the values at fault. Each takes time in proportion to
the text, whatever that is: a caller chooses some of it.
"""


def scrubbed(words: str) -> str:
    """Return ``words`` without anything that only its owner may know."""
    for leak, name in LEAKS:
        words = leak.sub(name, words)
    return words


def configure_logs(log_format: LogFormat | None = None, log_level: LogLevel = "info") -> None:
    """Let structlog, ``logging`` and uncaught exceptions of this process speak alike, and scrubbed.

    Lines go to stderr: JSON, or on a terminal for people, unless
    ``log_format`` says otherwise. uvicorn sets its loggers up before it
    imports the application, in every process that serves; what it set up is
    replaced here, and its access log is silent, since requests have a line of
    their own. Libraries are heard from "warning" on: below, some say secrets.
    """
    render = _renderer(log_format or ("console" if sys.stderr.isatty() else "json"))
    level = logging.getLevelNamesMapping()[log_level.upper()]
    structlog.configure(
        processors=[*SAID, structlog.dev.set_exc_info, *HEARD, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    _listen_to_libraries(render, level)
    logging.setLogRecordFactory(scrubbed_record)
    sys.excepthook = log_uncaught


def _listen_to_libraries(render: structlog.typing.Processor, level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name(__name__)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                *SAID,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *HEARD,
                render,
            ]
        )
    )
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if each.name != __name__] + [handler]
    root.setLevel(max(level, logging.WARNING))
    for name, own_level in (
        ("uvicorn", level),
        ("uvicorn.error", level),
        ("arq", level if level < logging.INFO else max(level, logging.WARNING)),
    ):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(own_level)
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate = [], False


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


def log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Log what ends the process, as everything else is logged."""
    structlog.get_logger().critical("process broke", exc_info=(kind, error, trace))


def _value(value: Any) -> Any:
    """Return a value as it is where it says nothing, and as scrubbed text where it would."""
    if isinstance(value, str):
        return scrubbed(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    said = f"{value} {value!r}"
    return value if scrubbed(said) == said else scrubbed(str(value))


def _renderer(log_format: LogFormat) -> structlog.typing.Processor:
    if log_format == "console":
        return structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    return structlog.processors.JSONRenderer(default=str, ensure_ascii=False)


SAID: tuple[structlog.typing.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
"""What is added to a line: the request it belongs to, its level, the time."""

HEARD: tuple[structlog.typing.Processor, ...] = (
    structlog.processors.format_exc_info,
    scrub_event,
)
"""What happens to a line before it is written. A traceback becomes text without the
local variables of its frames, which structlog's own default would print."""
