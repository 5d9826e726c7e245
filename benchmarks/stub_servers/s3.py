"""An S3 server that stores only the sizes of objects; run as a module it serves.

It supports what clients need to upload, list and delete: PUT, multipart uploads, HEAD,
DELETE, and the lists of uploads, versions and objects. It checks no signatures. GET of an
object is a 404, since its bytes are discarded.
"""

import argparse
import asyncio
import itertools
from datetime import UTC, datetime
from http import HTTPStatus
from xml.sax.saxutils import escape

import uvloop

from benchmarks.stub_servers.http import Answer, Connection, Request

ETAG = '"d41d8cd98f00b204e9800998ecf8427e"'
XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


CHECKSUM = "x-amz-checksum-crc32c"

COUNT_PATH = "requests-answered"
"""GET of this bucket returns how many other requests were answered."""


def _stored(request: Request) -> Answer:
    """Answer as a store does that has verified the body's checksum."""
    checksum = request.headers.get(CHECKSUM)
    named = () if checksum is None else ((CHECKSUM, checksum),)
    return Answer(headers=(("ETag", ETAG), *named))


class DiscardingStore:
    """Answers S3 requests; ``objects`` holds the size of each, by bucket and key."""

    def __init__(self) -> None:
        self.objects: dict[str, int] = {}
        self._answered = 0
        self._uploads: dict[str, _Upload] = {}
        self._numbers = itertools.count(1)

    def answer(self, request: Request) -> Answer:
        """Handle a request."""
        name = request.path.strip("/")
        if name == COUNT_PATH:
            return Answer(body=str(self._answered).encode())
        self._answered += 1
        if "/" not in name:
            return self._of_bucket(name, request)
        if "uploadId" in request.query:
            return self._of_upload(name, request)
        return self._of_object(name, request)

    def _of_bucket(self, bucket: str, request: Request) -> Answer:
        if request.method == "GET":
            return self._list(bucket, request)
        if request.method in ("PUT", "HEAD"):
            return Answer()
        return refusal("NotImplemented", HTTPStatus.NOT_IMPLEMENTED)

    def _list(self, bucket: str, request: Request) -> Answer:
        prefix = f"{bucket}/{request.query.get('prefix', '')}"
        head = text("Name", bucket) + text("IsTruncated", "false")
        if "uploads" in request.query:
            found = (
                text("Key", upload.name.removeprefix(f"{bucket}/"))
                + text("UploadId", upload_id)
                + text("Initiated", upload.initiated_at)
                for upload_id, upload in self._uploads.items()
                if upload.name.startswith(prefix)
            )
            uploads = "".join(f"<Upload>{each}</Upload>" for each in found)
            return document("ListMultipartUploadsResult", head + uploads)
        names = [name for name in self.objects if name.startswith(prefix)]
        if "versions" in request.query:
            versions = "".join(self._entry("Version", bucket, name) for name in names)
            return document("ListVersionsResult", head + versions)
        contents = "".join(self._entry("Contents", bucket, name) for name in names)
        return document("ListBucketResult", head + text("KeyCount", str(len(names))) + contents)

    def _entry(self, tag: str, bucket: str, name: str) -> str:
        fields = {
            "Key": name.removeprefix(f"{bucket}/"),
            "VersionId": "null",
            "IsLatest": "true",
            "LastModified": now(),
            "ETag": ETAG,
            "Size": str(self.objects[name]),
            "StorageClass": "STANDARD",
        }
        if tag == "Contents":
            del fields["VersionId"], fields["IsLatest"]
        return f"<{tag}>{''.join(text(*fact) for fact in fields.items())}</{tag}>"

    def _of_object(self, name: str, request: Request) -> Answer:
        if request.method == "PUT":
            self.objects[name] = request.body_bytes
            return _stored(request)
        if request.method == "DELETE":
            self.objects.pop(name, None)
            return Answer(HTTPStatus.NO_CONTENT)
        if request.method == "HEAD":
            size = self.objects.get(name)
            if size is None:
                return Answer(HTTPStatus.NOT_FOUND)
            return Answer(headers=(("ETag", ETAG),), length=size)
        if request.method == "POST" and "uploads" in request.query:
            return self._begin(name)
        return refusal("NoSuchKey", HTTPStatus.NOT_FOUND)

    def _begin(self, name: str) -> Answer:
        upload_id = f"upload-{next(self._numbers)}"
        self._uploads[upload_id] = _Upload(name)
        bucket, _, key = name.partition("/")
        fields = text("Bucket", bucket) + text("Key", key) + text("UploadId", upload_id)
        return document("InitiateMultipartUploadResult", fields)

    def _of_upload(self, name: str, request: Request) -> Answer:
        upload_id = request.query["uploadId"]
        upload = self._uploads.get(upload_id)
        if upload is None or upload.name != name:
            return refusal("NoSuchUpload", HTTPStatus.NOT_FOUND)
        if request.method == "PUT":
            upload.parts[int(request.query["partNumber"])] = request.body_bytes
            return _stored(request)
        del self._uploads[upload_id]
        if request.method == "DELETE":
            return Answer(HTTPStatus.NO_CONTENT)
        self.objects[name] = sum(upload.parts.values())
        bucket, _, key = name.partition("/")
        fields = text("Bucket", bucket) + text("Key", key) + text("ETag", ETAG)
        return document("CompleteMultipartUploadResult", fields)


class _Upload:
    """A multipart upload: its object's name, and the size of each part."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.parts: dict[int, int] = {}
        self.initiated_at = now()


def text(tag: str, value: str) -> str:
    """Return an element that holds text."""
    return f"<{tag}>{escape(value)}</{tag}>"


def document(root: str, content: str) -> Answer:
    """Return an XML answer in S3's namespace."""
    body = f'{XML}<{root} xmlns="{NAMESPACE}">{content}</{root}>'
    return Answer(body=body.encode(), headers=(("Content-Type", "application/xml"),))


def refusal(code: str, status: HTTPStatus) -> Answer:
    """Return an S3 error document."""
    body = f"{XML}<Error>{text('Code', code)}{text('Message', status.phrase)}</Error>"
    return Answer(status, body.encode(), (("Content-Type", "application/xml"),))


def now() -> str:
    """Return the current time in S3's format."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}"


async def serve(port: int, delay_s: float) -> None:
    """Serve on the loopback port until cancelled."""
    store = DiscardingStore()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(store.answer, delay_s), "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    """Serve until the process gets a signal."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stub_servers.s3", description=__doc__
    )
    parser.add_argument("port", type=int)
    parser.add_argument("--delay-s", type=float, default=0, help="before a part is acknowledged")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.port, arguments.delay_s))


if __name__ == "__main__":
    main()
