"""What is in a request's signature: the body too, wherever nothing else guards it."""

from urllib.parse import urlsplit

import pytest

from app.adapters.s3.client import is_transport_secure
from devstack.s3 import Store
from tests.adapters.conftest import open_store
from tests.proxy import open_proxy

BODY = b"Email\n" * 1_000_000
PUT_UNSIGNED = rb"(?is)^PUT .*UNSIGNED-PAYLOAD"


@pytest.mark.parametrize(
    ("url", "guarded"),
    [
        ("https://s3.eu-central-1.amazonaws.com", True),
        ("http://127.0.0.1:9000", True),
        ("http://[::1]:9000", True),
        ("http://localhost", True),
        ("http://store.internal:9000", False),
        ("http://10.0.0.7", False),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost.example.com", False),
    ],
)
def test_tls_and_the_machine_itself_guard_bodies_and_nothing_else(url: str, guarded: bool) -> None:
    assert is_transport_secure(url) is guarded


@pytest.mark.parametrize(("sign_bodies", "unsigned"), [(True, 0), (False, 3)])
async def test_a_body_is_stored_whether_its_hash_is_in_the_signature_or_not(
    s3_store: Store, sign_bodies: bool, unsigned: int
) -> None:
    port = urlsplit(s3_store.endpoint_url).port
    assert port is not None
    async with open_proxy("127.0.0.1", port) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        async with open_store(
            s3_store, s3_endpoint_url=address, s3_payload_signing=sign_bodies
        ) as bucket:
            await bucket.storage.put("small.csv", b"Email\n")
            upload_id = await bucket.storage.create_upload("large.csv")
            parts = [
                await bucket.storage.upload_part("large.csv", upload_id, number, BODY)
                for number in (3, 7)
            ]
            await bucket.storage.complete_upload("large.csv", upload_id, parts)
            assert bucket.read("small.csv") == b"Email\n"
            assert bucket.read("large.csv") == BODY * 2
    assert proxy.count(PUT_UNSIGNED) == unsigned
