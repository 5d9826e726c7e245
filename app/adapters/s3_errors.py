"""What goes wrong with an object store, told as facts of this service."""

import asyncio
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

from app.errors import ObjectMissing, ServiceError, StorageRefused, StorageUnavailable

MISSING = {"NoSuchKey", "NoSuchUpload", "NoSuchVersion"}

PASSING = {
    "BadDigest",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "XAmzContentSHA256Mismatch",
}
"""Codes that pass, although some come with 4xx; digests differ after damage on the way."""

REASONS = {
    "NoSuchBucket": "The file storage's bucket does not exist.",
    "AccessDenied": "The file storage denies this service access.",
    "403": "The file storage denies this service access.",
    "InvalidAccessKeyId": "The file storage does not know this service's access key.",
    "SignatureDoesNotMatch": "The file storage does not accept this service's secret key.",
    "ExpiredToken": "This service's credentials for the file storage have expired.",
    "RequestTimeTooSkewed": "This service's clock differs too much from the file storage's.",
}


class NotImplementedByStore(StorageRefused):
    """The store does not know the request, such as one for versions."""


BROKEN_OFF = (
    HTTPClientError,  # connections closed, TLS, proxies
    ConnectionFailed,
    CredentialRetrievalError,
    MetadataRetrievalError,
    IncompleteReadError,
    ResponseStreamingError,
    ResponseParserError,  # an answer cut short, or a balancer's page
    aiohttp.ClientError,
    OSError,
)


@asynccontextmanager
async def storage_errors(timeout_s: float) -> AsyncIterator[None]:
    """Bound one call to the store, and translate what it may raise.

    The texts are ours and fit for users: a library's may hold addresses.

    Raises:
        StorageUnavailable: it timed out, broke off or answered 429 or 5xx.
        ObjectMissing: the object or the upload does not exist.
        StorageRefused: anything else that trying again would not change.
    """
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except ClientError as error:
        raise _answered(error) from error
    except TimeoutError as error:
        raise StorageUnavailable("The file storage did not answer in time.") from error
    except BROKEN_OFF as error:
        raise StorageUnavailable("The file storage cannot be reached.") from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        text = "This service has no credentials for the file storage."
        raise StorageRefused(text) from error
    except BotoCoreError as error:
        raise StorageRefused("This service's settings for the file storage are unfit.") from error


def _answered(error: ClientError) -> ServiceError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in MISSING or (code, error.operation_name) == ("404", "HeadObject"):
        return ObjectMissing("The file is not in the file storage.")
    if code == "NotImplemented":
        return NotImplementedByStore("The file storage does not implement this request.")
    if code in PASSING or status == 429 or status >= 500:
        return StorageUnavailable("The file storage is busy or out of order.")
    if (code, error.operation_name) == ("404", "HeadBucket"):
        code = "NoSuchBucket"
    return StorageRefused(REASONS.get(code, "The file storage refused the request."))
