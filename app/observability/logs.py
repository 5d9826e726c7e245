"""Logging: one format for every logger of the process, with secrets and addresses redacted."""

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

REDACTIONS = (
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
"""Patterns and replacements: tokens, mailed links, presigned queries, passwords, addresses.

Our own code logs none of these. Libraries and their exceptions do: uvicorn's
access log has the path of a mailed link, PostgreSQL's errors contain values.
Each pattern takes linear time, since callers control part of the text.
"""


def redact(text: str) -> str:
    """Return ``text`` without secrets and personal data."""
    for pattern, replacement in REDACTIONS:
        text = pattern.sub(replacement, text)
    return text


def configure_logs(log_format: LogFormat | None = None, log_level: LogLevel = "info") -> None:
    """Give structlog, ``logging`` and uncaught exceptions one format and one redaction.

    Lines go to stderr. ``log_format`` ``None`` means JSON, or ``console`` on a
    terminal. uvicorn configures its loggers before it imports the application;
    this replaces that configuration and turns its access log off, since the
    application logs requests itself. Libraries log from "warning" on: some put
    secrets into their lower levels.
    """
    render = _renderer(log_format or ("console" if sys.stderr.isatty() else "json"))
    level = logging.getLevelNamesMapping()[log_level.upper()]
    structlog.configure(
        processors=[*CONTEXT_PROCESSORS, structlog.dev.set_exc_info, *RENDER_PROCESSORS, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    _configure_libraries(render, level)
    logging.setLogRecordFactory(redacted_record)
    sys.excepthook = log_uncaught


def _configure_libraries(render: structlog.typing.Processor, level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name(__name__)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                *CONTEXT_PROCESSORS,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *RENDER_PROCESSORS,
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


def redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Redact one structlog event: a processor, to run before the renderer."""
    return {name: _redact_value(value) for name, value in event.items()}


def redacted_record(*arguments: Any, **options: Any) -> logging.LogRecord:
    """Make a log record whose message, arguments and traceback are redacted.

    The arguments stay separate, since uvicorn's formatter reads them one by one.
    """
    record = logging.LogRecord(*arguments, **options)
    record.msg = _redact_value(record.msg)
    if isinstance(record.args, Mapping):
        record.args = {name: _redact_value(value) for name, value in record.args.items()}
    elif record.args:
        record.args = tuple(map(_redact_value, record.args))
    if record.exc_info and record.exc_info[0]:
        # Formatters of logging print exc_text where it is set, instead of the trace itself.
        record.exc_text = redact("".join(traceback.format_exception(*record.exc_info))).rstrip()
    return record


def log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Log an uncaught exception, which ends the process (a ``sys.excepthook``)."""
    structlog.get_logger().critical("process crashed", exc_info=(kind, error, trace))


def _redact_value(value: Any) -> Any:
    """Return a value unchanged unless its text needs redaction; then return the redacted text."""
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    # Both forms: a formatter may use %s or %r.
    shown = f"{value} {value!r}"
    return value if redact(shown) == shown else redact(str(value))


def _renderer(log_format: LogFormat) -> structlog.typing.Processor:
    if log_format == "console":
        return structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    return structlog.processors.JSONRenderer(default=str, ensure_ascii=False)


CONTEXT_PROCESSORS: tuple[structlog.typing.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
"""Processors that add the request's ids, the level and the time to a line."""

RENDER_PROCESSORS: tuple[structlog.typing.Processor, ...] = (
    structlog.processors.format_exc_info,
    redact_event,
)
"""Processors before the renderer. A traceback becomes text first, without the local
variables of its frames, which structlog's default would print; then all is redacted."""
