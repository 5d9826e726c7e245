"""Messages of two texts: what a reader's mail program finds in them."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default

import pytest

from app.adapters.smtp.envelope import Envelope
from app.exports.delivery.mime import empty_message, set_alternatives

LONG = "a link beyond a line " + "x" * 1000


def message_to(address: str, plain: str, html: str) -> EmailMessage:
    message = empty_message()
    message["From"] = "Audience exports of a shop with a rather long name <exports@x.co>"
    message["To"] = address
    message["Subject"] = "Your audience export is ready"
    set_alternatives(message, plain, html)
    return message


def read(message: EmailMessage) -> EmailMessage:
    return message_from_bytes(Envelope.of(message).to_bytes(), EmailMessage, policy=default)


@pytest.mark.parametrize("text", ["=_audience-export_", "josé =\n.\n", LONG], ids=len)
def test_both_texts_arrive_as_they_were_written(text: str) -> None:
    arrived = read(message_to("ann@x.co", text, f"<p>{text}</p>"))

    plain, html = (part.get_content().splitlines() for part in arrived.iter_parts())
    assert plain == text.splitlines()
    assert html == f"<p>{text}</p>".splitlines()


def test_messages_in_a_row_keep_their_own_fields() -> None:
    addresses = [f"{number}@x.co" for number in range(100)]

    assert [read(message_to(each, "a", "b"))["To"] for each in addresses] == addresses


@pytest.mark.parametrize(
    "name", ["Ann", "José Müller, the second of this name and a half"], ids=len
)
def test_the_bytes_are_those_that_the_standard_library_makes(name: str) -> None:
    message = message_to(f'"{name}" <ann@x.co>', "a", "b")

    assert Envelope.of(message).to_bytes() == message.as_bytes(policy=SMTP.clone(cte_type="7bit"))


@pytest.mark.parametrize("address", ["ann@x.co", "josé@x.co"])
@pytest.mark.parametrize(
    "subject",
    [
        "Votre export d’audience est prêt\u202f: Abonnés et clients, 98\u202f214 personnes",
        "Your audience export is ready: Followers, customers and long-standing-friends, 3",
    ],
    ids=len,
)
def test_a_long_subject_is_read_as_it_was_written(address: str, subject: str) -> None:
    message = message_to(address, "a", "b")
    message.replace_header("Subject", subject)

    assert str(read(message)["Subject"]) == subject


def test_a_long_name_is_not_broken_at_its_hyphens() -> None:
    name = "-".join(["Shop"] * 20)
    message = message_to("ann@x.co", "a", "b")
    message.replace_header("From", f"{name} <exports@x.co>")

    (sender,) = read(message)["From"].addresses
    assert (sender.display_name, sender.addr_spec) == (name, "exports@x.co")
