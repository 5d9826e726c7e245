"""An installation in good order, and a doctor who looks at it in this process."""

import pytest

from app.adapters.lifecycle import files_rule
from app.adapters.s3_inspection import BLOCKS
from devstack.s3 import Store
from tests.doctor.patient import Patient


@pytest.fixture
def patient(
    service_environment: dict[str, str],
    moto_store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> Patient:
    """The test's own servers, all well, and the bucket set up as it should be."""
    patient = Patient(monkeypatch)
    patient.change(**service_environment)
    bucket = {"Bucket": moto_store.bucket}
    rule = files_rule(service_environment["S3_PREFIX"], int(service_environment["LINK_LIFETIME_S"]))
    with moto_store.client() as client:
        client.put_bucket_lifecycle_configuration(
            **bucket, LifecycleConfiguration={"Rules": [rule]}
        )
        client.put_public_access_block(
            **bucket, PublicAccessBlockConfiguration=dict.fromkeys(BLOCKS, True)
        )
    return patient
