"""The discarding mail server takes every message."""

import smtplib


def test_several_messages_are_taken_over_one_connection(smtp_port: int) -> None:
    with smtplib.SMTP("127.0.0.1", smtp_port) as client:
        for text in ("one", "two\r\n\r\n.dot", "ümlaut".encode()):
            refused = client.sendmail("a@x.co", ["b@x.co", "c@x.co"], text)
            assert refused == {}
