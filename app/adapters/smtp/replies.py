"""Classify a mail server's refusal: is it about this recipient, or about us?

Only a refusal of the recipient is permanent. A refusal of the sender, the client, the login,
relaying or a rate is for the operator to correct, and the mail is retried.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Stage(StrEnum):
    """The step of an SMTP session that a reply answers; ``CONTENT`` is what follows DATA's 354."""

    CONNECT = "connect"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CONTENT = "content"


ABOUT_MESSAGE = (Stage.RCPT, Stage.DATA, Stage.CONTENT)
"""The stages in which a reply can be about a recipient: from RCPT on."""

ENHANCED_CODE = re.compile(r"(?:^\W*|#)([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)")
"""An enhanced status code: at the start (RFC 2034), or ``#5.1.1`` anywhere (qmail, IronPort)."""

RECIPIENT_UNKNOWN = {"5.1.1", "5.1.2", "5.1.3", "5.1.4", "5.1.6", "5.1.10"}
"""Codes that are only ever about the recipient's address (RFC 3463, RFC 7505)."""

# Not 5.2.2: a mailbox that is full may have space tomorrow.
RECIPIENT_CODE = re.compile(r"5\.1\.\d+|5\.2\.1")
SENDER_CODES = {"5.1.7", "5.1.8", "5.1.9"}
"""Codes about the sender's address or the relaying system (RFC 3463, RFC 3886)."""

# Not 554, which may refuse the whole session or transaction (RFC 5321, section 4.2.2).
BARE_REFUSALS = range(550, 554)

QUOTED = re.compile(r"<[^<>]*>|\S*@\S*|https?://\S*", re.IGNORECASE)
"""Quoted text to ignore when a reply is classified: ``<limit@relay.example>: User unknown``."""

# These are compiled with re.VERBOSE, which ignores a space that is not escaped.
ABOUT_SENDER = r"""
    \bsenders?\b | \b(mail|envelope|header)[ -]?from\b | \bfrom[ :-]+(address|header|domain)\b
    | \breturn[ -]path\b | \b(to|not)\ send\b
    | \bsend(ing)?\ (as|on\ behalf|mail|email|e-mail|message)
    | \bsending\ (limit|quota|rate|domain|host|server|ip|address|system|mta)
    | \b(spf|dkim|dmarc|arc)\b | spoof | impersonat
"""

ABOUT_RELAYING = r"\brelay(s|ed|ing)?\b(?!\ recipient\ (table|map)) | rcpt_?hosts"
"""Except Postfix's "User unknown in relay recipient table", which is about the recipient."""

ABOUT_CLIENT = r"""
    \bclients? | \b(helo|ehlo)\b | \bips?\b | \b\d{1,3}(\.\d{1,3}){3}\b | \breverse\b
    | \b(r?dns|ptr|rbl|dnsbl|spamhaus|spamcop|barracuda|sorbs)\b | \blisted\b
    | (black|block|deny|allow|white)[ -]?list | reputation | \bconnect(ing|ions?)?\b
    | \byour\b | \byou\ (are|must|have|need)\b | \bservice\b | accept\ delivery
    | authenticat | authori[sz] | \blog[ ]?in\b | credential | permission | \bpermit
    | denied | prohibit | polic(y|ies) | \bblock | \bbann | abus | suspicious
    | \bspam | virus | malware | unsolicited | \b(star)?tls\b | encrypt
"""

ABOUT_LIMIT = r"""
    limit | quota | exceed | \btoo\ (many|much|large|big|long|fast|often|frequent)
    | \brates?\b | throttl | \bfull\b | storage | \bspace\b | \bsize\b | hourly | daily | \bmax
    | busy | temporar | \blater\b | gr[ae]y-?list | insufficient
"""


def any_of(*patterns: str) -> re.Pattern[str]:
    """Return a case-insensitive pattern that matches any of the verbose ``patterns``."""
    return re.compile("|".join(patterns), re.IGNORECASE | re.VERBOSE)


MENTIONS_SENDER = any_of(ABOUT_SENDER)
MENTIONS_US = any_of(ABOUT_SENDER, ABOUT_RELAYING, ABOUT_CLIENT, ABOUT_LIMIT)


@dataclass(frozen=True)
class Reply:
    """A server's reply: ``enhanced`` is its enhanced status code or ``None``, ``text`` the rest.

    ``text`` is one line, without codes.
    """

    code: int
    enhanced: str | None
    text: str

    @classmethod
    def of(cls, code: int, text: str) -> Self:
        """Parse a reply; ``text`` has its lines without ``code``."""
        match = ENHANCED_CODE.search(text)
        if match is None:
            return cls(code, None, " ".join(text.split()))
        enhanced = match[1]
        lines = (line.strip().removeprefix(enhanced) for line in text.splitlines())
        return cls(code, enhanced, " ".join(" ".join(lines).split()))

    def __str__(self) -> str:
        """Return the reply as one line."""
        return " ".join(filter(None, (str(self.code), self.enhanced, self.text)))


def refuses_recipient(stage: Stage, reply: Reply) -> bool:
    """Return whether a reply refuses this recipient permanently.

    It does with an enhanced code 5.1.x or 5.2.1, and with 550 to 553 without one at RCPT, unless
    its text mentions the sender, relaying, the client or a limit. In doubt the refusal counts as
    temporary: retrying for a day costs less than losing a mail.
    """
    if stage not in ABOUT_MESSAGE or not 500 <= reply.code <= 599:
        return False
    text = QUOTED.sub(" ", reply.text)
    if reply.enhanced is None:
        is_bare = stage is Stage.RCPT and reply.code in BARE_REFUSALS
        return is_bare and not MENTIONS_US.search(text)
    if reply.enhanced in RECIPIENT_UNKNOWN:
        return not MENTIONS_SENDER.search(text)
    about_recipient = RECIPIENT_CODE.fullmatch(reply.enhanced) is not None
    return about_recipient and reply.enhanced not in SENDER_CODES and not MENTIONS_US.search(text)
