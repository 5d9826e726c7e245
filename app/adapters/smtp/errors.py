"""Time limits of SMTP steps, and their failures translated to this service's errors."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from aiosmtplib.errors import SMTPException, SMTPResponseException, SMTPServerDisconnected

from app.adapters.smtp.redaction import redacted
from app.adapters.smtp.replies import Reply, Stage, refuses_recipient
from app.errors import MailDeferred, MailRefused, MailUnanswered, ServiceError
from app.tls_errors import causes, tls_failure

MINUTE_S = 60.0
TIME_LIMITS_S: Mapping[Stage, float] = {
    Stage.CONNECT: 5 * MINUTE_S,
    Stage.EHLO: 5 * MINUTE_S,
    Stage.STARTTLS: 5 * MINUTE_S,
    Stage.AUTH: 5 * MINUTE_S,
    Stage.MAIL: 5 * MINUTE_S,
    Stage.RCPT: 5 * MINUTE_S,
    Stage.DATA: 2 * MINUTE_S,
    Stage.CONTENT: 10 * MINUTE_S,
}
"""RFC 5321, section 4.5.3.2, which has no limit for EHLO, STARTTLS and AUTH."""


@asynccontextmanager
async def smtp_step(stage: Stage, limit_s: float, secrets: Sequence[str]) -> AsyncIterator[None]:
    """Limit one step of a session to ``limit_s`` seconds, and translate its errors.

    ``secrets`` are addresses and credentials to redact from the server's replies.

    Raises:
        MailUnanswered: the content was sent and no reply arrived.
        MailDeferred: the step failed; a later attempt may succeed.
        MailRefused: the recipient was refused permanently.
    """
    try:
        async with asyncio.timeout(limit_s):
            yield
    except SMTPResponseException as error:
        raise _reply_error(stage, error, secrets) from error
    except TimeoutError as error:
        raise _no_reply_error(stage, f"no reply in {limit_s:g} s") from error
    except (SMTPException, OSError, EOFError) as error:
        raise _no_reply_error(stage, redacted(_cause(error), secrets)) from error


def _reply_error(
    stage: Stage, error: SMTPResponseException, secrets: Sequence[str]
) -> ServiceError:
    reply = Reply.of(error.code, error.message)
    text = redacted(str(reply), secrets)
    # Not a refusal: after the content it leaves open whether the message was accepted.
    if not 400 <= error.code <= 599:
        return _no_reply_error(stage, f"unexpected reply: {text}")
    detail = f"{stage}: {text}"
    if refuses_recipient(stage, reply):
        return MailRefused(f"The mail server refused the recipient ({error.code}).", detail)
    return MailDeferred(f"The mail server does not accept the message now ({error.code}).", detail)


def _no_reply_error(stage: Stage, reason: str) -> MailDeferred:
    detail = f"{stage}: {reason}"
    if stage is Stage.CONTENT:
        return MailUnanswered("The mail server did not confirm the message.", detail)
    return MailDeferred("The mail server cannot be reached or refuses the session.", detail)


def _cause(error: BaseException) -> str:
    """Return the cause of a failure without host names, which libraries put into their messages."""
    if failed := tls_failure(error):
        return failed
    for each in causes(error):
        match each:
            case socket.gaierror():
                return f"{each.strerror}"
            case OSError(errno=int(number)) if number > 0:
                return os.strerror(number)
    if isinstance(error, SMTPServerDisconnected | EOFError | ConnectionError):
        return "connection lost"
    return error.message if isinstance(error, SMTPException) else type(error).__name__
