"""moto's S3 with the check that it lacks: a body must have the CRC-32C that its header names.

It frees what is deleted, and lists versions without copying all objects.

Run as a module, it serves: ``python -m devstack.checked_s3 PORT``.
"""

import io
import sys
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import FakeKey, FakeMultipart
from werkzeug.serving import run_simple

from app.checksums import Crc32c

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

HEADER = "x-amz-checksum-crc32c"

BAD_DIGEST = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>BadDigest</Code>'
    b"<Message>The CRC32C you specified did not match the calculated checksum.</Message></Error>"
)


class CheckedBodies:
    """Refuses damaged bodies, and returns the checksum of the others, as S3 does."""

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Handle a request."""
        expected = environ.get("HTTP_X_AMZ_CHECKSUM_CRC32C")
        if expected is None:
            return self._application(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if str(Crc32c.of(body)) != expected:
            status = f"{HTTPStatus.BAD_REQUEST.value} {HTTPStatus.BAD_REQUEST.phrase}"
            start_response(status, [("Content-Type", "application/xml")])
            return [BAD_DIGEST]
        environ["wsgi.input"] = io.BytesIO(body)

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            return start_response(status, [*headers, (HEADER, expected)], *error)

        return self._application(environ, start)


class Forgetful(list[Any]):
    """A list that stays empty."""

    def append(self, _: object) -> None:
        """Keep nothing."""


def forget_deleted_objects() -> None:
    """Let moto free what is deleted: it tracks every object and upload until its own reset."""
    for model in (FakeKey, FakeMultipart):
        setattr(model, "instances_tracked", Forgetful())  # noqa: B010 - moto's metaclass adds it


def without_content(key: FakeKey, _: object) -> FakeKey:
    """Return a copy of an object that has its size and ETag only."""
    twin = object.__new__(FakeKey)
    own = {"_etag": key.etag.strip('"'), "_value_buffer": io.BytesIO(), "multipart": None}
    vars(twin).update(vars(key) | own)
    return twin


def list_versions_without_content() -> None:
    """Let moto copy no content to list versions: it copies every object of the bucket."""
    setattr(FakeKey, "__deepcopy__", without_content)  # noqa: B010 - moto has none


if __name__ == "__main__":
    forget_deleted_objects()
    list_versions_without_content()
    backends = DomainDispatcherApplication(create_backend_app)
    run_simple("127.0.0.1", int(sys.argv[1]), CheckedBodies(backends), threaded=True)
