"""The registry of sources: every kind of audience, in one place.

The API's flags, the CSV's columns, the dialog's checkboxes, the counts and
the projection's triggers all follow from ``SOURCES``. A new kind is an entry
here and a migration whose body is one call of ``projection.install``.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """One kind of audience.

    ``key`` is the API's flag and the CSV's word, ``label`` what people read,
    ``table`` the storefront's table, ``eligible`` the SQL condition over one
    row of it (the address is checked apart).
    """

    key: str
    label: str
    table: str
    eligible: str

    @property
    def since(self) -> str:
        """The date's column in ``audience_members`` and its key in the API."""
        return f"{self.key}_since"

    @property
    def heading(self) -> str:
        """The date's heading in the CSV."""
        return f"{self.key.capitalize()} Since (UTC)"


FOLLOWER = Source(
    key="follower",
    label="Followers",
    table="followers",
    eligible="confirmed_at IS NOT NULL AND deleted_at IS NULL",
)

CUSTOMER = Source(
    key="customer",
    label="Customers",
    table="purchases",
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
)

AFFILIATE = Source(
    key="affiliate",
    label="Affiliates",
    table="affiliates",
    eligible="kind = 'direct' AND deleted_at IS NULL AND send_posts AND product_count >= 1",
)

SOURCES = (FOLLOWER, CUSTOMER, AFFILIATE)
"""In the order of the API, the CSV and the dialog."""

SOURCES_BY_KEY = {source.key: source for source in SOURCES}
