"""What mail servers answer as they really are: the recipient's fault, or something against us."""

# ruff: noqa: E501 - replies stay as servers write them
import pytest

from app.adapters.smtp.replies import Reply, Stage, refuses_recipient

RECIPIENT_REFUSED = [
    # Postfix
    (Stage.RCPT, 550, "5.1.1 <ann@x.co>: Recipient address rejected: User unknown in virtual mailbox table"),
    (Stage.RCPT, 550, "5.1.1 <ann@x.co>: Recipient address rejected: User unknown in relay recipient table"),
    (Stage.RCPT, 550, "<ann@x.co>: Recipient address rejected: User unknown in relay recipient table"),
    (Stage.RCPT, 550, "5.1.1 <ann@x.co>: Recipient address rejected: undeliverable address: host mx.x.co said"),
    (Stage.RCPT, 556, "5.1.10 <ann@x.co>: Recipient address rejected: Domain x.co does not accept mail (nullMX)"),
    (Stage.RCPT, 501, "5.1.3 Bad recipient address syntax"),
    # Exim, without enhanced codes
    (Stage.RCPT, 550, "Unknown user"),
    (Stage.RCPT, 550, "Unrouteable address"),
    (Stage.RCPT, 550, "No Such User Here"),
    # Sendmail
    (Stage.RCPT, 550, "5.1.1 <ann@x.co>... User unknown"),
    (Stage.RCPT, 550, "5.1.2 <ann@x.co>... Host unknown (Name server: x.co: host not found)"),
    # qmail and IronPort write the code elsewhere
    (Stage.RCPT, 550, "sorry, no mailbox here by that name. (#5.1.1)"),
    (Stage.RCPT, 550, "#5.1.0 Address rejected."),
    # Exchange and Microsoft 365
    (Stage.RCPT, 550, "5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"),
    (Stage.CONTENT, 550, "5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient ann@x.co not found by SMTP address lookup"),
    (Stage.RCPT, 550, "5.1.1 RESOLVER.ADR.RecipNotFound; not found"),
    # Gmail: several lines, the code on each
    (
        Stage.RCPT,
        550,
        "5.1.1 The email account that you tried to reach does not exist. Please try\n"
        "5.1.1 double-checking the recipient's email address for typos or\n"
        "5.1.1 unnecessary spaces. For more information, go to\n"
        "5.1.1  https://support.google.com/mail/?p=NoSuchUser a640c23a62f3a-b2b0e1 - gsmtp",
    ),
    (Stage.RCPT, 550, "5.2.1 The email account that you tried to reach is inactive. d2e1a72fcca58 - gsmtp"),
    # others
    (Stage.CONTENT, 550, "5.1.1 No such mailbox"),
    (Stage.DATA, 554, "5.1.1 No valid recipients"),
    (Stage.RCPT, 550, "Requested action not taken: mailbox unavailable"),
    (Stage.RCPT, 551, "User not local; please try <ann@y.co>"),
    (Stage.RCPT, 553, "Requested action not taken: mailbox name not allowed"),
    (Stage.RCPT, 550, ""),
    (Stage.RCPT, 550, "5.2.1 Mailbox disabled, not accepting messages"),
    # what is quoted is not what is said
    (Stage.RCPT, 550, "<sender@relay.client.example>: unknown user"),
    (Stage.RCPT, 550, "limit@quota.example: no such user, see https://spamhaus.example/sender"),
]  # fmt: skip

HELD_AGAINST_US = [
    # the sender
    (Stage.RCPT, 553, "5.7.1 <exports@x.co>: Sender address rejected: not owned by user mailer"),
    (Stage.RCPT, 553, "<exports@x.co>: Sender address rejected: not logged in"),
    (Stage.RCPT, 550, "5.1.8 <exports@x.co>: Sender address rejected: Domain not found"),
    (Stage.RCPT, 550, "5.1.7 <exports@x.co>: Sender address rejected: undeliverable address"),
    (Stage.RCPT, 550, "5.1.0 <exports@x.co>: Sender address rejected: User unknown in local recipient table"),
    (Stage.RCPT, 550, "5.1.1 Sender address rejected: User unknown"),
    (Stage.MAIL, 550, "5.1.1 User unknown"),
    (Stage.MAIL, 550, "No such user"),
    (Stage.MAIL, 501, "5.1.7 Invalid address"),
    (Stage.RCPT, 550, "Verification failed for <exports@x.co>\nNo Such User Here\nSender verify failed"),
    (Stage.RCPT, 550, "5.7.60 SMTP; Client does not have permissions to send as this sender"),
    (Stage.CONTENT, 554, "5.2.252 SendAsDenied; mailer@x.co not allowed to send as exports@x.co"),
    (Stage.RCPT, 550, "5.1.8 Access denied, bad outbound sender AS(42004)"),
    (Stage.CONTENT, 550, "5.1.20 Multiple From addresses are not allowed without Sender address"),
    (Stage.CONTENT, 550, "The from address does not match a verified Sender Identity. Mail cannot be sent"),
    (Stage.RCPT, 550, "Unauthenticated senders not allowed"),
    (Stage.CONTENT, 554, "Message rejected: Email address is not verified. The following identities failed the check"),
    (Stage.MAIL, 501, "Invalid MAIL FROM address provided"),
    # relaying
    (Stage.RCPT, 554, "5.7.1 <ann@x.co>: Relay access denied"),
    (Stage.RCPT, 550, "relay not permitted"),
    (Stage.RCPT, 550, "Relaying denied"),
    (Stage.RCPT, 550, "5.7.1 Unable to relay"),
    (Stage.RCPT, 550, "5.7.64 TenantAttribution; Relay Access Denied"),
    (Stage.RCPT, 553, "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"),
    (Stage.RCPT, 553, "sorry, that domain isn't in my list of allowed rcpthosts"),
    (Stage.RCPT, 551, "we do not relay"),
    # the client
    (Stage.CONNECT, 554, "5.7.1 Service unavailable; Client host [203.0.113.9] blocked"),
    (Stage.CONNECT, 550, "User unknown"),
    (Stage.EHLO, 504, "5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname"),
    (Stage.RCPT, 504, "5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname"),
    (Stage.RCPT, 550, "Access denied - Invalid HELO name (See RFC2821 4.1.1.1)"),
    (Stage.RCPT, 554, "5.7.1 Service unavailable; Client host [203.0.113.9] blocked using zen.spamhaus.org"),
    (Stage.RCPT, 550, "rejected because 203.0.113.9 is in a black list at zen.spamhaus.org"),
    (Stage.RCPT, 550, "5.7.1 Client host rejected: cannot find your reverse hostname, [203.0.113.9]"),
    (Stage.RCPT, 550, "5.7.606 Access denied, banned sending IP [203.0.113.9]"),
    (Stage.RCPT, 550, "SC-001 Mail rejected for policy reasons. Reasons for rejection may be related to content"),
    (Stage.RCPT, 550, "Administrative prohibition"),
    (Stage.RCPT, 550, "Please turn on SMTP Authentication in your mail client"),
    (Stage.RCPT, 521, "5.2.1 AOL will not accept delivery of this message"),
    (Stage.CONNECT, 521, "5.3.2 Connection refused"),
    # login and TLS
    (Stage.RCPT, 530, "5.7.0 Authentication required"),
    (Stage.RCPT, 550, "Authentication is required for relay"),
    (Stage.MAIL, 530, "5.7.0 Must issue a STARTTLS command first"),
    (Stage.AUTH, 535, "5.7.8 Username and Password not accepted"),
    (Stage.AUTH, 534, "5.7.9 Application-specific password required"),
    (Stage.AUTH, 550, "5.2.1 Mailbox disabled"),
    (Stage.STARTTLS, 550, "no"),
    (Stage.RCPT, 503, "5.5.1 Error: need MAIL command"),
    # limits
    (Stage.CONTENT, 550, "5.4.5 Daily user sending limit exceeded. For more information on Gmail"),
    (Stage.RCPT, 550, "5.4.5 Daily SMTP relay limit exceeded for customer"),
    (Stage.RCPT, 550, "5.1.90 Your message can't be sent because you've reached your daily limit for recipients"),
    (Stage.RCPT, 550, "5.2.1 The user you are trying to contact is receiving mail at a rate that prevents more"),
    (Stage.RCPT, 550, "Too many recipients"),
    (Stage.RCPT, 552, "Mailbox full"),
    (Stage.RCPT, 552, "5.2.2 <ann@x.co>: Over quota"),
    (Stage.CONTENT, 552, "5.2.2 Mailbox full"),
    (Stage.RCPT, 552, "Requested mail action aborted: exceeded storage allocation"),
    (Stage.CONTENT, 552, "5.3.4 Message size exceeds fixed limit"),
    (Stage.RCPT, 550, "Domain x.co has exceeded the max emails per hour (100/100 (100%)) allowed. Message discarded."),
    # policy, content, DMARC
    (Stage.CONTENT, 550, "5.7.26 Unauthenticated email from x.co is not accepted due to domain's DMARC policy"),
    (Stage.CONTENT, 550, "5.7.1 Email rejected per SPF policy"),
    (Stage.CONTENT, 554, "5.7.0 Reject, id=12345-06 - spam"),
    (Stage.CONTENT, 554, "5.6.0 Message contains invalid header"),
    (Stage.CONTENT, 550, "Message rejected"),
    (Stage.CONTENT, 550, "User unknown"),
    (Stage.CONTENT, 554, "5.7.1 Sandbox subdomains are for test purposes only"),
    (Stage.RCPT, 550, "5.4.1 Recipient address rejected: Access denied. AS(201806281)"),
    (Stage.RCPT, 554, "delivery error: dd This user doesn't have an account"),
    (Stage.DATA, 554, "5.5.1 Error: no valid recipients"),
    # later
    (Stage.RCPT, 450, "4.2.0 <ann@x.co>: Recipient address rejected: Greylisted"),
    (Stage.RCPT, 450, "4.1.1 <ann@x.co>: Recipient address rejected: unverified address"),
    (Stage.RCPT, 450, "5.1.1 User unknown"),
    (Stage.RCPT, 550, "4.1.1 Try another server"),
    (Stage.RCPT, 451, "Greylisted, please come back later"),
    (Stage.RCPT, 452, "4.5.3 Too many recipients"),
    (Stage.RCPT, 454, "Throttling failure: Maximum sending rate exceeded."),
    (Stage.MAIL, 421, "4.7.0 Try again later, closing connection."),
    (Stage.RCPT, 550, "5.1.1.2 is not welcome"),
    (Stage.RCPT, 250, "5.1.1 fine"),
    (Stage.RCPT, -1, "Malformed SMTP response line: 5.1.1"),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "code", "text"), RECIPIENT_REFUSED)
def test_a_refusal_of_the_recipient_is_final(stage: Stage, code: int, text: str) -> None:
    assert refuses_recipient(stage, Reply.of(code, text))


@pytest.mark.parametrize(("stage", "code", "text"), HELD_AGAINST_US)
def test_what_is_held_against_us_is_not(stage: Stage, code: int, text: str) -> None:
    assert not refuses_recipient(stage, Reply.of(code, text))


def test_lines_become_one_and_the_code_is_said_once() -> None:
    reply = Reply.of(550, "5.1.1 The account\n5.1.1  does not exist.\n5.1.1 Bye")
    assert str(reply) == "550 5.1.1 The account does not exist. Bye"


@pytest.mark.parametrize(
    ("text", "enhanced"),
    [
        ("5.7.1 no", "5.7.1"),
        ("[5.7.606] no", "5.7.606"),
        ("#5.1.0 Address rejected", "5.1.0"),
        ("no (#5.1.1)", "5.1.1"),
        ("5.1.1.2 is an address of the internet", None),
        ("version 5.1.1 of us", None),
        ("3.1.1 is no class", None),
    ],
)
def test_enhanced_codes_are_found_where_servers_put_them(text: str, enhanced: str | None) -> None:
    assert Reply.of(550, text).enhanced == enhanced
