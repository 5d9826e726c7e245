"""The registry of sources: every kind of audience, in one place.

The API's flags, the file's columns and headings, the dialog's checkboxes, the mail's
words, the counts and the projection's triggers all follow from ``SOURCES``. A new kind is an entry
here and a migration whose body is one call of ``projection.install``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.i18n.locales import DEFAULT_LOCALE

NAME = re.compile("[a-z][a-z0-9_]*")
"""A name that needs no quoting in SQL, JSON, Python and on the command line."""

KEY_LENGTH_MAX = 43
TABLE_LENGTH_MAX = 52
"""Names derived from both have at most 63 characters, PostgreSQL's limit."""


@dataclass(frozen=True)
class Translation:
    """What a source is called in one language: its people, and the date they joined."""

    label: str
    since: str


@dataclass(frozen=True)
class Source:
    """One kind of audience.

    ``key`` is the name in the API and the CSV, ``label`` the displayed name,
    ``table`` the storefront's table, ``eligible`` the SQL condition on one
    row of it, with immutable functions only; the address is checked separately.
    ``translations`` are by locale; a language without one shows the English names.

    Raises:
        ValueError: the key or the table is not a valid name.
    """

    key: str
    label: str
    table: str
    eligible: str
    # A dict has no hash, and sources are keys of dicts.
    translations: Mapping[str, Translation] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check the names here, before they appear in SQL."""
        for name, longest in ((self.key, KEY_LENGTH_MAX), (self.table, TABLE_LENGTH_MAX)):
            if not NAME.fullmatch(name) or len(name) > longest:
                raise ValueError(f"{name!r}: use a to z, 0 to 9 and _, {longest} at most")

    @property
    def since(self) -> str:
        """The date's column in ``audience_members`` and its key in the API."""
        return f"{self.key}_since"

    def label_in(self, locale: str) -> str:
        """Return the displayed name in a language."""
        translation = self.translations.get(locale)
        return self.label if translation is None else translation.label

    def since_label_in(self, locale: str) -> str:
        """Return what the date is called in a language: ``Follower Since``."""
        translation = self.translations.get(locale)
        english = f"{self.key.replace('_', ' ').capitalize()} Since"
        return english if translation is None else translation.since


# A changed `eligible` needs a migration: the generated column member_email stores its results.
FOLLOWER = Source(
    key="follower",
    label="Followers",
    table="followers",
    eligible="confirmed_at IS NOT NULL AND deleted_at IS NULL",
    translations={
        "zh-CN": Translation("关注者", "关注日期"),
        "de": Translation("Follower", "Follower seit"),
        "es": Translation("Seguidores", "Seguidor desde"),
        "fr": Translation("Abonnés", "Abonné depuis"),
    },
)

CUSTOMER = Source(
    key="customer",
    label="Customers",
    table="purchases",
    # refunded may be null, which a plain NOT would make ineligible.
    eligible="""
        can_contact
        AND state IN ('successful', 'gift_receiver_purchase_successful', 'not_charged')
        AND NOT is_gift_sender
        AND CASE
            WHEN subscription_id IS NULL THEN
                refunded IS NOT TRUE
                AND (chargeback_at IS NULL OR chargeback_reversed)
            ELSE
                is_original_subscription
                AND NOT is_archived_original
                AND subscription_deactivated_at IS NULL
                AND NOT subscription_is_test
        END
    """,
    translations={
        "zh-CN": Translation("客户", "成为客户日期"),
        "de": Translation("Kunden", "Kunde seit"),
        "es": Translation("Clientes", "Cliente desde"),
        "fr": Translation("Clients", "Client depuis"),
    },
)

AFFILIATE = Source(
    key="affiliate",
    label="Affiliates",
    table="affiliates",
    eligible="kind = 'direct' AND deleted_at IS NULL AND send_posts AND product_count >= 1",
    translations={
        "zh-CN": Translation("联盟伙伴", "加入联盟日期"),
        "de": Translation("Partner", "Partner seit"),
        "es": Translation("Afiliados", "Afiliado desde"),
        "fr": Translation("Affiliés", "Affilié depuis"),
    },
)

SOURCES = (FOLLOWER, CUSTOMER, AFFILIATE)
"""In the order of the API, the CSV and the dialog."""

SOURCES_BY_KEY = {source.key: source for source in SOURCES}


def label_of(key: str, locale: str = DEFAULT_LOCALE) -> str:
    """Return a source's label, or its key if it is no longer in the registry."""
    return SOURCES_BY_KEY[key].label_in(locale) if key in SOURCES_BY_KEY else key
