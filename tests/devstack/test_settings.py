"""The settings of an embedded stack."""

from app.config import Settings
from devstack import settings
from devstack.settings import with_defaults

KEYS = {"AWS_ACCESS_KEY_ID": "own", "AWS_SECRET_ACCESS_KEY": "own"}


def test_every_setting_of_the_service_is_there() -> None:
    assert {name.upper() for name in Settings.model_fields} <= with_defaults({}, {}).keys()


def test_defaults_are_written_as_the_service_reads_them() -> None:
    written = with_defaults({}, {})

    assert (written["EXPORT_STREAMS"], written["AUTH_AUDIENCE"]) == ("", "audience-export")
    assert (written["DEMO"], written["CORS_ORIGINS"], written["MAIL_REPLY_TO"]) == ("0", "", "")


def test_what_is_set_outside_wins_unless_it_is_empty() -> None:
    own = {"S3_BUCKET": "own", "DEMO": "1"}

    chosen = with_defaults(own, {"S3_BUCKET": "mine", "DEMO": "", "EXPORT_STREAMS": "7"})

    assert (chosen["S3_BUCKET"], chosen["DEMO"], chosen["EXPORT_STREAMS"]) == ("mine", "1", "7")


def test_keys_to_the_store_come_as_a_pair() -> None:
    half = with_defaults(KEYS, {"AWS_ACCESS_KEY_ID": "mine"})
    pair = with_defaults(KEYS, {"AWS_ACCESS_KEY_ID": "mine", "AWS_SECRET_ACCESS_KEY": "mine"})

    assert [half[name] for name in settings.CREDENTIALS] == ["own", "own"]
    assert [pair[name] for name in settings.CREDENTIALS] == ["mine", "mine"]


def test_a_developers_profile_does_not_meddle_with_an_embedded_store() -> None:
    outside = {"AWS_PROFILE": "production", "AWS_SESSION_TOKEN": "secret"}

    embedded = with_defaults(KEYS, outside)
    elsewhere = with_defaults({}, outside | {"S3_ENDPOINT_URL": "https://s3.example.com"})

    assert not embedded.keys() & outside.keys()
    assert elsewhere.keys() >= outside.keys()
