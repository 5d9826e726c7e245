"""Options as callers write them: what they mean, what is the same, and what is refused."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from app.audience.options import OptionsResolver, Preferences, RequestedOptions
from app.database.database import open_database
from app.errors import RequestInvalid
from app.models import FileOptions

NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)
NEW_YEAR_IN_BERLIN = datetime(2023, 12, 31, 23, tzinfo=UTC)


@pytest.fixture
async def resolver(database_url: str) -> AsyncIterator[OptionsResolver]:
    """A resolver with the test's database."""
    async with open_database(database_url, pool_size=1) as database:
        yield OptionsResolver(database)


@pytest.mark.parametrize(
    ("requested", "meant"),
    [
        ({}, {}),
        ({"delimiter": "\t"}, {"delimiter": "\t"}),
        ({"locale": "de-AT"}, {"locale": "de"}),
        ({"locale": "ZH-hans-SG"}, {"locale": "zh-CN"}),
        ({"locale": "pt-BR"}, {"locale": "en"}),
        ({"timezone": "europe/BERLIN"}, {"timezone": "Europe/Berlin"}),
        ({"joined_after": "2024-01-01"}, {"joined_after": NEW_YEAR}),
        ({"joined_after": "2024-01-01T01:00:00+01:00"}, {"joined_after": NEW_YEAR}),
        (
            {"joined_before": "2024-01-01", "timezone": "Europe/Berlin"},
            {"joined_before": NEW_YEAR_IN_BERLIN, "timezone": "Europe/Berlin"},
        ),
        (
            {"joined_after": "2024-01-01", "joined_before": "2024-01-01T00:00:00.000001Z"},
            {"joined_after": NEW_YEAR, "joined_before": NEW_YEAR.replace(microsecond=1)},
        ),
    ],
)
async def test_options_are_canonical(
    resolver: OptionsResolver, requested: dict[str, Any], meant: dict[str, Any]
) -> None:
    assert await resolver.resolve(RequestedOptions(**requested)) == FileOptions(**meant)


@pytest.mark.parametrize(
    ("requested", "field"),
    [
        ({"locale": ""}, "locale"),
        ({"locale": "d"}, "locale"),
        ({"locale": "de_AT"}, "locale"),
        ({"locale": "deutsch!"}, "locale"),
        ({"timezone": ""}, "timezone"),
        ({"timezone": "CEST"}, "timezone"),
        ({"timezone": "Europe/Bonn"}, "timezone"),
        ({"joined_after": ""}, "joined_after"),
        ({"joined_after": "2024-02-30"}, "joined_after"),
        ({"joined_before": "yesterday"}, "joined_before"),
        ({"joined_after": "2024-01-02", "joined_before": "2024-01-01"}, "joined_before"),
        ({"joined_after": "2024-01-01", "joined_before": "2024-01-01T00:00:00Z"}, "joined_before"),
        ({"format": "xlsx", "delimiter": ";"}, "delimiter"),
        ({"format": "xlsx", "bom": True}, "bom"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_field(
    resolver: OptionsResolver, requested: dict[str, Any], field: str
) -> None:
    with pytest.raises(RequestInvalid) as refused:
        await resolver.resolve(RequestedOptions(**requested))
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("preferences", "locale", "timezone"),
    [
        (Preferences("de-CH", "Europe/Zurich"), "de", "Europe/Zurich"),
        (Preferences("de_AT", "europe/vienna"), "de", "Europe/Vienna"),
        (Preferences("", ""), "en", "UTC"),
        (Preferences("not a tag", "Not/AZone"), "en", "UTC"),
    ],
)
async def test_a_tokens_claims_are_defaults_where_they_are_sound(
    resolver: OptionsResolver, preferences: Preferences, locale: str, timezone: str
) -> None:
    resolved = await resolver.resolve(RequestedOptions(), preferences)
    assert (resolved.locale, resolved.timezone) == (locale, timezone)
    explicit = RequestedOptions(locale="fr", timezone="UTC")
    resolved = await resolver.resolve(explicit, preferences)
    assert (resolved.locale, resolved.timezone) == ("fr", "UTC")


async def test_a_claims_time_zone_places_a_date(resolver: OptionsResolver) -> None:
    requested = RequestedOptions(joined_after="2024-01-01")
    resolved = await resolver.resolve(requested, Preferences(timezone="Europe/Berlin"))
    assert resolved.joined_after == NEW_YEAR_IN_BERLIN
