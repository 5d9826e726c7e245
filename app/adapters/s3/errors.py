"""Translate an object store's failures into this service's errors."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ResponseStreamingError,
)
from botocore.exceptions import ConnectionError as ConnectionFailed
from botocore.parsers import ResponseParserError

from app.errors import FileDamaged, ObjectNotFound, ServiceError, StorageRefused, StorageUnavailable
from app.tls_errors import connection_failure

PRIVATE = re.compile(r"\S*(?:[/@]|arn:|\d+\.\d+\.\d+\.|\w\.\w|[A-Z0-9]{12,})\S*")
"""What in a store's words may name a host, a key, an account or a bucket."""

WORDS_MAX = 200

MISSING = {"NoSuchKey", "NoSuchUpload", "NoSuchVersion"}

DAMAGED_CODES = {
    "BadDigest",
    "InvalidDigest",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}
"""The body is not what its checksum says: it was damaged in transit."""

RETRYABLE_CODES = {
    "ExpiredToken",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeTooSkewed",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}
"""Temporary errors, some of which have a 4xx status.

New credentials, or a clock that is set right, help while the export is retried.
"""

REASONS = {
    "NoSuchBucket": "The file storage's bucket does not exist.",
    "AccessDenied": "The file storage denies this service access.",
    "403": "The file storage denies this service access.",
    "InvalidAccessKeyId": "The file storage rejects this service's access key.",
    "SignatureDoesNotMatch": "The file storage rejects this service's secret key.",
    "ExpiredToken": "This service's credentials for the file storage have expired.",
    "RequestTimeTooSkewed": "This service's clock differs too much from the file storage's.",
}


class NotImplementedByStore(StorageRefused):
    """The store does not implement an operation, such as listing versions."""


CONNECTION_ERRORS = (
    HTTPClientError,  # connections closed, TLS, proxies
    ConnectionFailed,
    CredentialRetrievalError,
    MetadataRetrievalError,
    IncompleteReadError,
    ResponseStreamingError,
    ResponseParserError,  # an incomplete response, or a load balancer's error page
    aiohttp.ClientError,
    OSError,
)


@asynccontextmanager
async def storage_errors(timeout_s: float) -> AsyncIterator[None]:
    """Limit a call to the store to ``timeout_s`` seconds, and translate its errors.

    The messages are safe to show to users; a library's may contain addresses.

    Raises:
        FileDamaged: the store refuses a body that is not what its checksum says.
        StorageUnavailable: the call timed out, lost its connection, or returned 429, 5xx or one
            of ``RETRYABLE_CODES``.
        ObjectNotFound: the object or the upload does not exist.
        StorageRefused: any other, permanent error.
    """
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except ClientError as error:
        raise _response_error(error) from error
    except TimeoutError as error:
        raise StorageUnavailable("The file storage did not answer in time.") from error
    except CONNECTION_ERRORS as error:
        raise StorageUnavailable(f"The file storage cannot be reached{_cause(error)}.") from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        text = "This service has no credentials for the file storage."
        raise StorageRefused(text) from error
    # Last: it is the base of temporary errors above, and this one is permanent.
    except BotoCoreError as error:
        raise StorageRefused("This service's settings for the file storage are invalid.") from error


def _response_error(error: ClientError) -> ServiceError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    # The response to HEAD has no body, so its status is the code.
    if code in MISSING or (code, error.operation_name) == ("404", "HeadObject"):
        return ObjectNotFound("The file is not in the file storage.")
    # Before the status is examined: it is 501, which no retry helps.
    if code == "NotImplemented":
        return NotImplementedByStore("The file storage does not implement this request.")
    words = _words(error)
    if code in DAMAGED_CODES:
        return FileDamaged(f"The file was damaged on its way to the file storage{words}.")
    if code in RETRYABLE_CODES or status == 429 or status >= 500:
        reason = REASONS.get(code, "The file storage is overloaded or has an internal error.")
        return StorageUnavailable(f"{reason[:-1]}{words}.")
    if (code, error.operation_name) == ("404", "HeadBucket"):
        code = "NoSuchBucket"
    reason = REASONS.get(code, "The file storage refused the request.")
    return StorageRefused(f"{reason[:-1]}{words}.")


def _words(error: ClientError) -> str:
    """Return the store's own code and words, without names of hosts, keys and accounts."""
    answer = error.response.get("Error", {})
    code, message = str(answer.get("Code", "")), str(answer.get("Message", ""))
    # Cut after the redaction, which may not recognise half of a name.
    message = PRIVATE.sub("…", " ".join(message.split()))[:WORDS_MAX].strip(" .")
    if not code.replace(".", "").isalnum():
        return ""
    return f" ({code}: {message})" if message else f" ({code})"


def _cause(error: BaseException) -> str:
    failed = connection_failure(error)
    return f": {failed}" if failed else ""
