"""The embedded Redis, SMTP server and object stores."""

import smtplib
import ssl
from dataclasses import replace
from hashlib import md5

import httpx
import psutil
import pytest
import redis

from devstack.ceph import CephServer
from devstack.redis import RedisServer
from devstack.s3 import MotoServer, Store
from devstack.sandbox import Sandbox
from devstack.smtp import PERMANENT_FAILURE, TEMPORARY_FAILURE, SmtpServer

LARGE_BYTES = 8 * 1024 * 1024


def send(server: SmtpServer, text: str, *recipients: str) -> None:
    with smtplib.SMTP("127.0.0.1", server.port) as client:
        client.sendmail("from@x.co", recipients or ["to@x.co"], text, mail_options=["SMTPUTF8"])


def test_redis_keeps_port_and_acknowledged_writes_over_a_crash() -> None:
    with Sandbox() as sandbox:
        server = RedisServer(sandbox)
        server.start()
        with redis.Redis.from_url(server.url()) as client:
            client.set("kept", "1")

        server.kill()
        server.start()

        with redis.Redis.from_url(server.url()) as client:
            assert client.get("kept") == b"1"


def test_each_test_has_an_empty_redis_database(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url(5)) as client:
        client.set("left over", "1")

        assert redis_server.empty(5) == redis_server.url(5)
        assert client.keys() == []


def test_mails_can_be_read_by_nobody_else(smtp_server: SmtpServer) -> None:
    send(smtp_server, "Subject: hello\r\n\r\nA list is ready.\r\n")

    (path,) = smtp_server.messages()
    assert path.stat().st_mode & 0o777 == 0o600


def test_mails_are_files_in_order_of_arrival_with_their_envelope(smtp_server: SmtpServer) -> None:
    send(smtp_server, "Subject: first\r\n\r\nhello\r\n", "a@x.co", "josé@x.co")
    send(smtp_server, "Subject: second\r\n\r\nhello\r\n")

    first, second = (path.read_text("utf-8") for path in smtp_server.messages())
    assert first.startswith(
        "X-Envelope-From: from@x.co\nX-Envelope-To: a@x.co\nX-Envelope-To: josé@x.co\n"
    )
    assert "Subject: second" in second


@pytest.mark.parametrize("reply", [TEMPORARY_FAILURE, PERMANENT_FAILURE])
def test_the_next_messages_get_the_reply_that_was_requested(
    smtp_server: SmtpServer, reply: str
) -> None:
    smtp_server.reply(reply, times=2)

    for _ in range(2):
        with pytest.raises(smtplib.SMTPDataError, match=reply[:3]):
            send(smtp_server, "Subject: lost\r\n\r\n")
    send(smtp_server, "Subject: kept\r\n\r\n")

    assert len(smtp_server.messages()) == 1


def test_a_store_is_a_bucket_of_its_own(s3_store: Store) -> None:
    with s3_store.client() as client:
        client.put_object(Bucket=s3_store.bucket, Key="key", Body=b"body")
        with client.get_object(Bucket=s3_store.bucket, Key="key")["Body"] as body:
            assert body.read() == b"body"
        assert "Status" not in client.get_bucket_versioning(Bucket=s3_store.bucket)


def test_deleted_objects_are_freed(moto: MotoServer) -> None:
    store, process = moto.store(), psutil.Process(moto.pid)
    before = process.memory_info().rss
    with store.client() as client:
        for _ in range(30):
            client.put_object(Bucket=store.bucket, Key="list.csv", Body=bytes(LARGE_BYTES))
            client.delete_object(Bucket=store.bucket, Key="list.csv")
    assert process.memory_info().rss - before < 15 * LARGE_BYTES


def test_versions_are_listed_without_a_copy_of_every_object(moto: MotoServer) -> None:
    store, process = moto.store(), psutil.Process(moto.pid)
    content = bytes(LARGE_BYTES)
    with store.client() as client:
        client.put_object(Bucket=store.bucket, Key="list.csv", Body=content)
        before = process.memory_info().rss
        for _ in range(30):
            [listed] = client.list_object_versions(Bucket=store.bucket)["Versions"]
        assert process.memory_info().rss - before < LARGE_BYTES
        assert (listed["Key"], listed["Size"]) == ("list.csv", LARGE_BYTES)
        assert listed["ETag"].strip('"') == md5(content, usedforsecurity=False).hexdigest()
        found = client.get_object(Bucket=store.bucket, Key="list.csv")["Body"].read()
        assert found == content


@pytest.mark.ceph
def test_ceph_answers_over_tls_to_who_trusts_its_authority(ceph: CephServer) -> None:
    trust = ssl.create_default_context(cafile=ceph.certificate.authority)

    assert httpx.get(ceph.tls_endpoint_url, verify=trust).status_code == 200


@pytest.mark.ceph
def test_ceph_refuses_a_wrong_signature(ceph_store: Store) -> None:
    with (
        replace(ceph_store, secret_key="wrong").client() as client,
        pytest.raises(client.exceptions.ClientError, match="SignatureDoesNotMatch"),
    ):
        client.list_objects_v2(Bucket=ceph_store.bucket)
