"""A healthy installation, which the doctor checks in this process."""

import pytest

from app.adapters.s3.inspection import BLOCKS
from app.adapters.s3.lifecycle import export_files_rule
from devstack.s3 import Store
from tests.doctor.installation import Installation


@pytest.fixture
def installation(
    service_environment: dict[str, str],
    moto_store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> Installation:
    """Healthy servers for this test, and a configured bucket."""
    installation = Installation(monkeypatch)
    installation.change(**service_environment)
    bucket = {"Bucket": moto_store.bucket}
    rule = export_files_rule(
        service_environment["S3_PREFIX"], int(service_environment["LINK_LIFETIME_S"])
    )
    with moto_store.client() as client:
        client.put_bucket_lifecycle_configuration(
            **bucket, LifecycleConfiguration={"Rules": [rule]}
        )
        client.put_public_access_block(
            **bucket, PublicAccessBlockConfiguration=dict.fromkeys(BLOCKS, True)
        )
    return installation
