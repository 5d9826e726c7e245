"""What the logs may say: everything but addresses, tokens, secrets and signed queries."""

import io
import json
import logging
import logging.config
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
import uvicorn.config

from app.observability.correlation import log_context
from app.observability.logs import configure_logs, log_uncaught, redact
from tests.tokens import mint

LINK = "/d/AAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAA"
SIGNED = "https://s3.example/b/k.csv?X-Amz-Expires=300&X-Amz-Signature=0123456789abcdef"

SAYINGS = [
    ("Key (email)=(ann@example.com) already exists", "Key (email)=([address]) already exists"),
    ("to josé.q+x@münchen.example, soon", "to [address], soon"),
    ("Name <ann@example.com>", "Name <[address]>"),
    (f"GET {LINK}?x=1 HTTP/1.1", "GET /d/[token]?x=1 HTTP/1.1"),
    (f"opened {SIGNED} twice", "opened https://s3.example/b/k.csv?[signed] twice"),
    ("redis://:hunter2@localhost:6379/0", "redis://[secret]@localhost:6379/0"),
    ("postgresql://me:p@ss@db.example/x", "postgresql://[secret]@db.example/x"),
    ("smtps://me@x.co:pass@mail.example", "smtps://[secret]@mail.example"),
    ("postgresql:///shop?password=hunter2&port=1", "postgresql:///shop?password=[secret]&port=1"),
]

INNOCENT = [
    'File "/srv/app/main.py", line 12, in create_app',
    "exports/1/019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6071/2.csv",
    "2026-11-22T13:54:05.123456Z rows=1187",
    "GET /exports?limit=20 HTTP/1.1",
    "http://127.0.0.1:8000 (Press CTRL+C to quit)",
    "result = a @ b",
]


@pytest.fixture
def configured(restore_logging: None) -> None:
    """Logging as production has it."""
    configure_logs()


@pytest.fixture
def lines(configured: None) -> Iterator[io.StringIO]:
    """What a plain handler of ``logging`` writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("tests.logs")
    logger.propagate = False
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)
    logger.propagate = True


@pytest.mark.parametrize(("line", "redacted"), SAYINGS)
def test_what_leaks_is_named_instead_of_said(line: str, redacted: str) -> None:
    assert redact(line) == redacted


def test_tokens_are_not_said() -> None:
    assert redact(f"Bearer {mint()}!") == "Bearer [token]!"


@pytest.mark.parametrize("piece", ["a", "?a", "?X-Amz", ":", "://a:", "eyJ", "-eyJ", "a@b", "@"])
def test_long_words_take_no_longer_than_they_are(piece: str) -> None:
    line = f"GET ://{piece * 200_000}"  # in quadratic time, minutes
    assert redact(line)


@pytest.mark.parametrize("line", INNOCENT)
def test_the_rest_is_said_as_it_is(line: str) -> None:
    assert redact(line) == line


def test_arguments_are_scrubbed_and_stay_apart(lines: io.StringIO) -> None:
    logging.getLogger("tests.logs").warning('%s "%s" %d', "127.0.0.1:9", LINK, 302)
    logging.getLogger("tests.logs").warning("%(who)s", {"who": "ann@example.com"})
    logging.getLogger("tests.logs").warning(ValueError("ann@example.com"))
    assert lines.getvalue() == '127.0.0.1:9 "/d/[token]" 302\n[address]\n[address]\n'


def fail(reason: str) -> None:
    raise ValueError(reason)


def test_tracebacks_are_scrubbed(lines: io.StringIO) -> None:
    try:
        fail("no such person: ann@example.com")
    except ValueError:
        logging.getLogger("tests.logs").exception("broke")
    assert "Traceback" in lines.getvalue()
    assert "no such person: [address]" in lines.getvalue()
    assert "ann@example.com" not in lines.getvalue()


def log_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the lines that were written to stderr, which is all JSON."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_structlog_says_no_local_variables(
    restore_logging: None, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs()
    recipient = "ann@example.com"
    try:
        fail(f"cannot mail {recipient}")
    except ValueError:
        structlog.get_logger().exception("mail crashed", to=recipient, rows=3)
    (line,) = log_lines(capsys)
    assert "ann@" not in str(line)
    assert (line["event"], line["to"], line["rows"]) == ("mail crashed", "[address]", 3)
    assert "cannot mail [address]" in line["exception"]


def test_an_uncaught_exception_is_a_line_too(
    restore_logging: None, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs()
    log_uncaught(ValueError, ValueError("ann@example.com"), None)
    (line,) = log_lines(capsys)
    assert (line["event"], line["level"]) == ("process crashed", "critical")
    assert line["exception"] == "ValueError: [address]"


def test_libraries_speak_in_the_same_form_and_name_the_request(
    restore_logging: None, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)
    configure_logs()
    with log_context("r-1", None):
        logging.getLogger("uvicorn.error").info("started by %s", "ann@example.com")
        logging.getLogger("arq.worker").warning("job %s expired", "x")
    (first, second) = log_lines(capsys)
    assert (first["event"], first["level"]) == ("started by [address]", "info")
    assert (second["logger"], second["request_id"]) == ("arq.worker", "r-1")


def test_libraries_do_not_say_their_details(
    restore_logging: None, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs(log_level="debug")
    logging.getLogger("botocore.auth").debug("CanonicalRequest")
    logging.getLogger("uvicorn.access").info("GET /d/token")
    structlog.get_logger().debug("redacted")
    assert [line["event"] for line in log_lines(capsys)] == ["redacted"]


def test_the_level_holds_for_all(restore_logging: None, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(log_level="error")
    structlog.get_logger().warning("quiet")
    logging.getLogger("uvicorn.error").warning("quiet")
    logging.getLogger("arq.worker").warning("quiet")
    logging.getLogger("asyncio").error("loud")
    assert [line["event"] for line in log_lines(capsys)] == ["loud"]


def test_people_get_lines_for_people(
    restore_logging: None, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs("console")
    structlog.get_logger().info("mail sent", to="ann@example.com")
    assert re.fullmatch(r"\S+Z \[info +\] mail sent +to=\[address\]\n", capsys.readouterr().err)


def test_logging_is_set_up_once_however_often(
    restore_logging: None, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs()
    configure_logs()
    logging.getLogger("asyncio").error("loud")
    assert len(log_lines(capsys)) == 1
