"""What the logs may say: everything but addresses, tokens, secrets and signed queries."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from app.logs import configure_logs, print_scrubbed, scrubbed
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
def configured() -> Iterator[None]:
    """Logging as production has it, and afterwards as it was."""
    hook, factory = sys.excepthook, logging.getLogRecordFactory()
    configure_logs()
    yield
    sys.excepthook = hook
    logging.setLogRecordFactory(factory)
    structlog.reset_defaults()


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


@pytest.mark.parametrize(("said", "heard"), SAYINGS)
def test_what_leaks_is_named_instead_of_said(said: str, heard: str) -> None:
    assert scrubbed(said) == heard


def test_tokens_are_not_said() -> None:
    assert scrubbed(f"Bearer {mint()}!") == "Bearer [token]!"


@pytest.mark.parametrize("said", INNOCENT)
def test_the_rest_is_said_as_it_is(said: str) -> None:
    assert scrubbed(said) == said


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


def test_structlog_says_no_local_variables(
    configured: None, capsys: pytest.CaptureFixture[str]
) -> None:
    recipient = "ann@example.com"
    try:
        fail(f"cannot mail {recipient}")
    except ValueError:
        structlog.get_logger().exception("mail broke", to=recipient, rows=3)
    said = json.loads(capsys.readouterr().out)
    assert "ann@" not in str(said)
    assert (said["event"], said["to"], said["rows"]) == ("mail broke", "[address]", 3)
    assert "cannot mail [address]" in said["exception"]


def test_an_uncaught_exception_is_printed_scrubbed(capsys: pytest.CaptureFixture[str]) -> None:
    print_scrubbed(ValueError, ValueError("ann@example.com"), None)
    assert capsys.readouterr().err == "ValueError: [address]\n"
