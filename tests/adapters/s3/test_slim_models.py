"""botocore's descriptions: complete, without their prose."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.regions import EndpointResolver

from app.adapters.s3.slim_models import (
    CONTEXT,
    DOCUMENTATION,
    KEY,
    USED_SERVICES,
    SlimModelLoader,
)


def texts(described: Any) -> Iterator[str]:
    """Yield every text that documents something."""
    if isinstance(described, dict):
        if isinstance(described.get(DOCUMENTATION), str):
            yield described[DOCUMENTATION]
        for value in described.values():
            yield from texts(value)
    elif isinstance(described, list):
        for value in described:
            yield from texts(value)


def lean(described: Any) -> Any:
    """Return the same with empty documentation, and keys that no address depends on."""
    if isinstance(described, dict):
        return {
            name: "" if name == DOCUMENTATION and isinstance(value, str) else lean(value)
            for name, value in described.items()
            if (name, value) != (CONTEXT, KEY)
        }
    return [lean(value) for value in described] if isinstance(described, list) else described


@pytest.mark.parametrize("kind", ["service-2", "paginators-1"])
def test_nothing_but_the_prose_is_missing(kind: str) -> None:
    whole = Loader().load_service_model("s3", kind)
    loaded = Loader(file_loader=SlimModelLoader()).load_service_model("s3", kind)
    assert loaded == lean(whole)
    assert not any(texts(loaded))


def test_no_rule_of_addresses_asks_for_an_objects_key() -> None:
    rules = Loader().load_service_model("s3", "endpoint-rule-set-1")
    assert "Bucket" in json.dumps(rules["rules"])
    assert "Key" not in re.findall(r"\w+", json.dumps(rules["rules"]))


def test_an_address_is_found_once_for_all_objects_of_a_bucket() -> None:
    model = ServiceModel(
        Loader(file_loader=SlimModelLoader()).load_service_model("s3", "service-2")
    )
    parameters = model.operation_model("PutObject").context_parameters
    assert [each.name for each in parameters] == ["Bucket"]


def test_the_regions_of_the_services_that_are_called_are_all_there() -> None:
    whole = Loader().load_data("endpoints")
    slim = Loader(file_loader=SlimModelLoader()).load_data("endpoints")
    assert len(slim["partitions"]) == len(whole["partitions"]) > 1
    for each, full in zip(slim["partitions"], whole["partitions"], strict=True):
        assert each | {"services": full["services"]} == full
        assert each["services"] == {
            name: full["services"][name] for name in full["services"] if name in USED_SERVICES
        }
    for service in USED_SERVICES:
        for region in ("us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1", "elsewhere"):
            assert EndpointResolver(slim).construct_endpoint(service, region) == EndpointResolver(
                whole
            ).construct_endpoint(service, region)


def test_a_file_that_is_not_there_is_nothing() -> None:
    assert SlimModelLoader().load_file("no/such/file") is None
