"""Stores as they are elsewhere: strict policies, other regions, other certificates."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest

from app.adapters.s3.lifecycle import open_lifecycle
from app.adapters.s3.region import BucketRegion
from app.adapters.s3.storage import open_storage
from app.config import Settings
from app.doctor import bucket
from app.errors import StorageRefused, StorageUnavailable
from devstack.s3 import Store
from tests.adapters.settings import settings_for
from tests.doctor.installation import Installation, failed

KEY = "exports/1/list.csv"
REGION = "ap-northeast-3"
CREDENTIAL = re.compile(r"Credential=[^/]+/\d+/([^/]+)/")

Refusal = tuple[int, str, str]
"""Status, code and words."""

Policy = Callable[[BaseHTTPRequestHandler], Refusal | None]


@contextmanager
def refusing(store: Store, policy: Policy) -> Iterator[str]:
    """Yield the address of a proxy before a store that refuses what ``policy`` says."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if refusal := policy(self):
                status, code, words = refusal
                text = f"<Error><Code>{code}</Code><Message>{words}</Message></Error>"
                content = text.encode()
            else:
                answer = httpx.request(
                    self.command,
                    store.endpoint_url + self.path,
                    content=body,
                    headers=dict(self.headers.items()),
                    trust_env=False,
                )
                status, content = answer.status_code, answer.content
            self.send_response(status)
            if not refusal:
                for name in answer.headers.keys() - {"content-length", "connection", "date"}:
                    self.send_header(name, answer.headers[name])
            is_head = self.command == "HEAD"
            length = answer.headers.get("content-length", "0") if is_head and not refusal else None
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            if not is_head:
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def only_the_prefix(request: BaseHTTPRequestHandler) -> Refusal | None:
    """Allow what a policy limited to ``exports/`` does."""
    parts = urlsplit(request.path)
    key = unquote(parts.path).lstrip("/").partition("/")[2]
    prefix = parse_qs(parts.query).get("prefix", [""])[0]
    if (key or prefix).startswith("exports/"):
        return None
    return 403, "AccessDenied", "User: arn:aws:iam::1:user/x is not authorized to do this"


def only_the_region(request: BaseHTTPRequestHandler) -> Refusal | None:
    """Refuse signatures for another region than the bucket's."""
    query = parse_qs(urlsplit(request.path).query)
    signed = CREDENTIAL.search(request.headers.get("Authorization", ""))
    region = signed[1] if signed else query.get("X-Amz-Credential", ["///"])[0].split("/")[2]
    if region == REGION:
        return None
    words = f"the region is wrong</Message><Region>{REGION}</Region><Message>"
    return 400, "AuthorizationHeaderMalformed", words


def through(store: Store, url: str) -> Settings:
    return settings_for(store, s3_endpoint_url=url, s3_prefix="exports/")


async def test_a_policy_limited_to_the_prefix_is_enough(moto_store: Store) -> None:
    with refusing(moto_store, only_the_prefix) as url:
        async with open_storage(through(moto_store, url)) as storage:
            await storage.check()
            await storage.put(KEY, b"Email\n")
            assert await storage.head(KEY) == 6
            await storage.delete(KEY)
            assert await storage.head(KEY) is None


async def test_the_doctor_is_content_with_such_a_policy(
    installation: Installation, moto_store: Store
) -> None:
    with refusing(moto_store, only_the_prefix) as url:
        installation.change(S3_ENDPOINT_URL=url, S3_PREFIX="exports/", S3_PUBLIC_ENDPOINT_URL="")
        assert failed(await installation.run_checks(bucket.CHECK)) == []


async def test_the_doctor_opens_a_link_that_a_fresh_client_signed(
    installation: Installation, moto_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client of the uploads has been redirected, a process that only signs links has not."""
    monkeypatch.setattr(BucketRegion, "must_ask", lambda _: False)
    with refusing(moto_store, only_the_region) as url:
        installation.change(S3_ENDPOINT_URL=url, S3_PUBLIC_ENDPOINT_URL="")
        assert failed(await installation.run_checks(bucket.CHECK)) == ["bucket.links"]


async def test_a_link_is_signed_for_the_bucket_s_region(moto_store: Store) -> None:
    with refusing(moto_store, only_the_region) as url:
        settings = through(moto_store, url)
        async with open_storage(settings) as storage:
            await storage.put(KEY, b"Email\n")
        async with open_storage(settings) as fresh, httpx.AsyncClient(trust_env=False) as client:
            link = await fresh.presigned_url(KEY, "list.csv", 300)
            assert (await client.get(link)).content == b"Email\n"


async def test_so_is_one_for_the_address_that_sellers_reach(moto_store: Store) -> None:
    with refusing(moto_store, only_the_region) as url:
        settings = through(moto_store, url)
        public = settings.model_copy(update={"s3_public_endpoint_url": "https://files.example"})
        async with open_storage(public) as storage:
            assert f"%2F{REGION}%2F" in await storage.presigned_url(KEY, "list.csv", 300)


async def test_a_link_is_signed_while_the_store_is_down(moto_store: Store) -> None:
    async with open_storage(through(moto_store, "http://127.0.0.1:9")) as storage:
        assert "X-Amz-Signature" in await storage.presigned_url(KEY, "list.csv", 300)


async def test_the_store_s_code_and_words_are_reported_without_names(moto_store: Store) -> None:
    with refusing(moto_store, only_the_prefix) as url:
        async with open_storage(through(moto_store, url)) as storage:
            with pytest.raises(StorageRefused) as refused:
                await storage.put("elsewhere/list.csv", b"Email\n")
    assert "(AccessDenied: User: … is not authorized to do this)" in str(refused.value)


async def test_why_a_store_cannot_be_reached_is_reported(moto_store: Store) -> None:
    async with open_storage(through(moto_store, "http://127.0.0.1:9")) as storage:
        with pytest.raises(StorageUnavailable, match="cannot be reached: Connection refused"):
            await storage.check()


async def test_a_store_that_speaks_no_tls_on_its_port_is_named(moto_store: Store) -> None:
    url = moto_store.endpoint_url.replace("http:", "https:")
    async with open_storage(through(moto_store, url)) as storage:
        with pytest.raises(StorageUnavailable, match="cannot be reached: TLS failed: "):
            await storage.check()


async def test_lifecycle_rules_are_sent_with_a_digest(moto_store: Store) -> None:
    def without_digest(request: BaseHTTPRequestHandler) -> Refusal | None:
        is_rule = request.command == "PUT" and "lifecycle" in request.path
        if is_rule and "Content-MD5" not in request.headers:
            return 400, "MissingContentMD5", "Missing required header: Content-MD5"
        return None

    with refusing(moto_store, without_digest) as url:
        async with open_lifecycle(through(moto_store, url)) as lifecycle:
            await lifecycle.set_up()
            assert await lifecycle.problems() == []


async def test_a_store_without_rules_for_uploads_is_no_problem(moto_store: Store) -> None:
    async with open_lifecycle(settings_for(moto_store)) as lifecycle:
        rule = dict(lifecycle.rule)
        del rule["AbortIncompleteMultipartUpload"], rule["NoncurrentVersionExpiration"]
        assert lifecycle._own_problems([rule]) == []
        rule = {**rule, "Prefix": rule["Filter"]["Prefix"]}
        del rule["Filter"]
        assert lifecycle._own_problems([rule]) == []


@pytest.mark.parametrize(
    ("style", "host"), [("path", "127.0.0.1"), ("virtual", "lists.files.example"), (None, None)]
)
async def test_the_addressing_style_is_a_setting(
    moto_store: Store, style: str | None, host: str | None
) -> None:
    endpoint = "http://127.0.0.1:9" if style == "path" else "http://files.example:9"
    settings = settings_for(
        moto_store, s3_endpoint_url=endpoint, s3_bucket="lists", s3_addressing_style=style
    )
    async with open_storage(settings) as storage:
        url = urlsplit(await storage.presigned_url(KEY, "list.csv", 300))
    assert url.hostname == (host or "files.example")
    assert url.path == (f"/{KEY}" if style == "virtual" else f"/lists/{KEY}")
