"""The discarding store speaks as much S3 as boto3 asks for."""

import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from benchmarks.stub_servers.s3 import COUNT_PATH
from devstack.s3 import open_client

MIB = 1024 * 1024
KEYS = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}


@pytest.fixture
def client(s3_port: int) -> Iterator[Any]:
    with open_client(f"http://127.0.0.1:{s3_port}", **KEYS) as client:
        yield client


def test_an_object_has_the_size_it_was_sent_with(client: Any) -> None:
    client.put_object(Bucket="b", Key="a key/with ü", Body=b"12345")

    assert client.head_object(Bucket="b", Key="a key/with ü")["ContentLength"] == 5


def test_an_object_that_was_never_sent_is_not_there(client: Any) -> None:
    with pytest.raises(ClientError) as missing:
        client.head_object(Bucket="b", Key="never")

    assert missing.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_a_large_file_arrives_in_parts_and_is_one_object(client: Any) -> None:
    client.upload_fileobj(io.BytesIO(bytes(20 * MIB)), "b", "large")

    assert client.head_object(Bucket="b", Key="large")["ContentLength"] == 20 * MIB


def test_an_open_upload_is_listed_until_it_is_aborted(client: Any) -> None:
    upload_id = client.create_multipart_upload(Bucket="uploads", Key="k")["UploadId"]
    listed = client.list_multipart_uploads(Bucket="uploads", Prefix="k")["Uploads"]
    assert [(upload["Key"], upload["UploadId"]) for upload in listed] == [("k", upload_id)]

    client.abort_multipart_upload(Bucket="uploads", Key="k", UploadId=upload_id)

    assert "Uploads" not in client.list_multipart_uploads(Bucket="uploads")


def test_a_part_of_no_upload_is_refused(client: Any) -> None:
    with pytest.raises(client.exceptions.NoSuchUpload):
        client.upload_part(Bucket="b", Key="k", UploadId="none", PartNumber=1, Body=b"x")


def test_it_counts_what_it_answers(client: Any, s3_port: int) -> None:
    def answered() -> int:
        return int(httpx.get(f"http://127.0.0.1:{s3_port}/{COUNT_PATH}").text)

    before = answered()
    client.put_object(Bucket="b", Key="k", Body=b"12")
    client.list_objects_v2(Bucket="b")
    assert answered() - before == 2


def test_a_deleted_object_is_in_no_list(client: Any) -> None:
    client.put_object(Bucket="lists", Key="k", Body=b"12")
    versions = client.list_object_versions(Bucket="lists", Prefix="k")["Versions"]
    contents = client.list_objects_v2(Bucket="lists")["Contents"]
    assert (versions[0]["VersionId"], contents[0]["Size"]) == ("null", 2)

    client.delete_object(Bucket="lists", Key="k", VersionId="null")

    assert client.list_objects_v2(Bucket="lists")["KeyCount"] == 0


def test_the_bucket_is_always_there(client: Any) -> None:
    assert client.head_bucket(Bucket="any")["ResponseMetadata"]["HTTPStatusCode"] == 200
