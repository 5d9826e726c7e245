"""Who counts: every rule of the contract's section 5, one by one."""

import pytest

from tests.audience.storefront import CUT, CUT_LATER, DAY, LATER, SELLER, Storefront


async def test_a_confirmed_follower_is_a_member(storefront: Storefront) -> None:
    await storefront.follow("a@x.co")
    assert await storefront.members() == {(SELLER, "a@x.co"): {"follower": CUT}}


async def test_a_follower_who_has_not_confirmed_is_no_member(storefront: Storefront) -> None:
    await storefront.follow("a@x.co", confirmed_at=None)
    assert await storefront.members() == {}


async def test_a_follower_becomes_a_member_on_confirming(storefront: Storefront) -> None:
    row_id = await storefront.follow("a@x.co", confirmed_at=None)
    await storefront.change("followers", row_id, confirmed_at=LATER)
    assert await storefront.members() == {(SELLER, "a@x.co"): {"follower": CUT}}


async def test_who_unfollows_is_a_member_no_more(storefront: Storefront) -> None:
    row_id = await storefront.follow("a@x.co")
    await storefront.change("followers", row_id, deleted_at=LATER)
    assert await storefront.members() == {}


async def test_who_unfollows_and_follows_again_is_a_member_again(
    storefront: Storefront,
) -> None:
    row_id = await storefront.follow("a@x.co")
    await storefront.change("followers", row_id, deleted_at=LATER)
    await storefront.change("followers", row_id, deleted_at=None)
    assert await storefront.members() == {(SELLER, "a@x.co"): {"follower": CUT}}


async def test_who_follows_again_by_a_new_row_has_its_date(storefront: Storefront) -> None:
    row_id = await storefront.follow("a@x.co")
    await storefront.change("followers", row_id, deleted_at=LATER)
    await storefront.follow("a@x.co", created_at=LATER)
    assert await storefront.members() == {(SELLER, "a@x.co"): {"follower": CUT_LATER}}


@pytest.mark.parametrize(
    "state", ["successful", "gift_receiver_purchase_successful", "not_charged"]
)
async def test_a_purchase_in_a_successful_state_counts(storefront: Storefront, state: str) -> None:
    await storefront.buy("a@x.co", state=state)
    assert await storefront.members() == {(SELLER, "a@x.co"): {"customer": CUT}}


@pytest.mark.parametrize("state", ["in_progress", "failed", "Successful", ""])
async def test_a_purchase_in_another_state_does_not_count(
    storefront: Storefront, state: str
) -> None:
    await storefront.buy("a@x.co", state=state)
    assert await storefront.members() == {}


async def test_a_purchase_counts_once_it_succeeds(storefront: Storefront) -> None:
    row_id = await storefront.buy("a@x.co", state="in_progress")
    await storefront.change("purchases", row_id, state="successful")
    assert await storefront.addresses() == ["a@x.co"]


@pytest.mark.parametrize("can_contact", [False, None])
async def test_a_buyer_who_may_not_be_contacted_is_no_member(
    storefront: Storefront, can_contact: bool | None
) -> None:
    await storefront.buy("a@x.co", can_contact=can_contact)
    assert await storefront.members() == {}


async def test_a_buyer_who_opts_out_is_a_member_no_more(storefront: Storefront) -> None:
    row_id = await storefront.buy("a@x.co")
    await storefront.change("purchases", row_id, can_contact=False)
    assert await storefront.members() == {}


async def test_the_sender_of_a_gift_is_no_member(storefront: Storefront) -> None:
    await storefront.buy("a@x.co", is_gift_sender=True)
    assert await storefront.members() == {}


async def test_a_refunded_purchase_does_not_count(storefront: Storefront) -> None:
    await storefront.buy("a@x.co", refunded=True)
    assert await storefront.members() == {}


@pytest.mark.parametrize("refunded", [False, None])
async def test_a_purchase_that_is_not_refunded_counts(
    storefront: Storefront, refunded: bool | None
) -> None:
    await storefront.buy("a@x.co", refunded=refunded)
    assert await storefront.addresses() == ["a@x.co"]


async def test_who_buys_again_after_a_refund_has_the_later_date(
    storefront: Storefront,
) -> None:
    first = await storefront.buy("a@x.co")
    await storefront.change("purchases", first, refunded=True)
    await storefront.buy("a@x.co", created_at=LATER)
    assert await storefront.members() == {(SELLER, "a@x.co"): {"customer": CUT_LATER}}


async def test_a_refund_leaves_the_date_of_the_next_purchase(storefront: Storefront) -> None:
    first = await storefront.buy("a@x.co")
    await storefront.buy("a@x.co", created_at=LATER)
    await storefront.change("purchases", first, refunded=True)
    assert await storefront.members() == {(SELLER, "a@x.co"): {"customer": CUT_LATER}}


async def test_a_purchase_charged_back_does_not_count(storefront: Storefront) -> None:
    await storefront.buy("a@x.co", chargeback_at=DAY)
    assert await storefront.members() == {}


async def test_a_chargeback_that_is_reversed_counts_again(storefront: Storefront) -> None:
    row_id = await storefront.buy("a@x.co")
    await storefront.change("purchases", row_id, chargeback_at=LATER)
    assert await storefront.members() == {}
    await storefront.change("purchases", row_id, chargeback_reversed=True)
    assert await storefront.members() == {(SELLER, "a@x.co"): {"customer": CUT}}


async def test_a_refund_counts_though_the_chargeback_was_reversed(storefront: Storefront) -> None:
    await storefront.buy("a@x.co", refunded=True, chargeback_at=DAY, chargeback_reversed=True)
    assert await storefront.members() == {}


async def test_the_original_purchase_of_a_subscription_counts(storefront: Storefront) -> None:
    await storefront.subscribe("a@x.co")
    assert await storefront.members() == {(SELLER, "a@x.co"): {"customer": CUT}}


async def test_a_renewal_does_not_count(storefront: Storefront) -> None:
    await storefront.subscribe("a@x.co", is_original_subscription=False)
    assert await storefront.members() == {}


async def test_an_archived_original_does_not_count(storefront: Storefront) -> None:
    await storefront.subscribe("a@x.co", is_archived_original=True)
    assert await storefront.members() == {}


async def test_a_test_subscription_does_not_count(storefront: Storefront) -> None:
    await storefront.subscribe("a@x.co", subscription_is_test=True)
    assert await storefront.members() == {}


async def test_who_ends_and_renews_a_subscription_is_a_member_again(
    storefront: Storefront,
) -> None:
    row_id = await storefront.subscribe("a@x.co")
    await storefront.change("purchases", row_id, subscription_deactivated_at=LATER)
    assert await storefront.members() == {}
    await storefront.change("purchases", row_id, subscription_deactivated_at=None)
    assert await storefront.members() == {(SELLER, "a@x.co"): {"customer": CUT}}


async def test_who_subscribes_again_has_the_new_date(storefront: Storefront) -> None:
    await storefront.subscribe("a@x.co", subscription_deactivated_at=DAY)
    await storefront.subscribe("a@x.co", subscription_id=8, created_at=LATER)
    assert await storefront.members() == {(SELLER, "a@x.co"): {"customer": CUT_LATER}}


async def test_refund_and_chargeback_do_not_matter_to_a_subscription(
    storefront: Storefront,
) -> None:
    await storefront.subscribe("a@x.co", refunded=True, chargeback_at=DAY)
    assert await storefront.addresses() == ["a@x.co"]


async def test_the_subscription_flags_do_not_matter_to_a_single_purchase(
    storefront: Storefront,
) -> None:
    await storefront.buy(
        "a@x.co",
        is_archived_original=True,
        subscription_deactivated_at=DAY,
        subscription_is_test=True,
    )
    assert await storefront.addresses() == ["a@x.co"]


async def test_the_earliest_purchase_gives_the_date(storefront: Storefront) -> None:
    await storefront.buy("a@x.co", created_at=LATER)
    await storefront.buy("a@x.co")
    assert await storefront.members() == {(SELLER, "a@x.co"): {"customer": CUT}}


async def test_a_direct_affiliate_is_a_member(storefront: Storefront) -> None:
    await storefront.refer("a@x.co")
    assert await storefront.members() == {(SELLER, "a@x.co"): {"affiliate": CUT}}


async def test_an_affiliate_of_another_kind_is_no_member(storefront: Storefront) -> None:
    await storefront.refer("a@x.co", kind="global")
    assert await storefront.members() == {}


async def test_a_removed_affiliate_is_no_member(storefront: Storefront) -> None:
    row_id = await storefront.refer("a@x.co")
    await storefront.change("affiliates", row_id, deleted_at=LATER)
    assert await storefront.members() == {}


async def test_an_affiliate_who_wants_no_posts_is_no_member(storefront: Storefront) -> None:
    await storefront.refer("a@x.co", send_posts=False)
    assert await storefront.members() == {}


async def test_an_affiliate_without_products_is_no_member(storefront: Storefront) -> None:
    row_id = await storefront.refer("a@x.co", product_count=0)
    assert await storefront.members() == {}
    await storefront.change("affiliates", row_id, product_count=2)
    assert await storefront.addresses() == ["a@x.co"]


@pytest.mark.parametrize("email", [None, "", "not an address", "a@x"])
async def test_a_purchase_without_a_valid_address_is_stored_and_has_no_member(
    storefront: Storefront, email: str | None
) -> None:
    await storefront.buy(email)
    assert [row["email"] for row in await storefront.rows("purchases")] == [email]
    assert await storefront.members() == {}


async def test_a_buyer_who_follows_is_listed_once(storefront: Storefront) -> None:
    await storefront.buy(" Ann@X.co ", created_at=LATER)
    await storefront.follow("ann@x.co")
    await storefront.refer("ANN@x.CO", created_at=LATER)
    assert await storefront.members() == {
        (SELLER, "ann@x.co"): {"follower": CUT, "customer": CUT_LATER, "affiliate": CUT_LATER}
    }


async def test_a_member_stays_while_one_source_is_left(storefront: Storefront) -> None:
    row_id = await storefront.follow("a@x.co")
    await storefront.buy("a@x.co")
    await storefront.delete("followers", row_id)
    assert await storefront.members() == {(SELLER, "a@x.co"): {"customer": CUT}}


async def test_sellers_have_audiences_of_their_own(storefront: Storefront) -> None:
    await storefront.follow("a@x.co")
    row_id = await storefront.follow("a@x.co", seller_id=2)
    await storefront.delete("followers", row_id)
    assert await storefront.members() == {(SELLER, "a@x.co"): {"follower": CUT}}


async def test_an_insert_needs_no_flags(storefront: Storefront) -> None:
    await storefront.connection.execute(
        "INSERT INTO followers (seller_id, email, created_at, confirmed_at)"
        " VALUES (1, 'f@x.co', now(), now())"
    )
    await storefront.connection.execute(
        "INSERT INTO purchases (seller_id, email, created_at, state)"
        " VALUES (1, 'c@x.co', now(), 'successful')"
    )
    await storefront.connection.execute(
        "INSERT INTO affiliates (seller_id, email, created_at) VALUES (1, 'a@x.co', now())"
    )
    assert await storefront.addresses() == ["a@x.co", "c@x.co", "f@x.co"]
