"""Messages of two texts: what a reader's mail program finds in them."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default

import pytest

from app.adapters.smtp_envelope import Envelope
from app.exports.mime import empty_message, set_texts

LONG = "a link beyond a line " + "x" * 1000


def message_to(address: str, plain: str, html: str) -> EmailMessage:
    message = empty_message()
    message["From"] = "Audience exports of a shop with a rather long name <exports@x.co>"
    message["To"] = address
    message["Subject"] = "Your audience export is ready"
    set_texts(message, plain, html)
    return message


def read(message: EmailMessage) -> EmailMessage:
    return message_from_bytes(Envelope.of(message).flattened(), EmailMessage, policy=default)


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

    assert Envelope.of(message).flattened() == message.as_bytes(policy=SMTP.clone(cte_type="7bit"))
