"""The mail server: every step up to the content of a mail, without sending anything."""

from email.utils import parseaddr

from app.adapters.smtp.address import SmtpAddress
from app.adapters.smtp.helo import helo_name
from app.adapters.smtp.inspection import Sender, inspect
from app.config import Settings
from app.doctor.findings import Check, CheckResult, failure, ok, warning
from app.email_addresses import with_ascii_domain

ADVICE = "start the mail server, or fix SMTP_URL"


async def check(settings: Settings) -> list[CheckResult]:
    """Return whether mails could be handed over.

    Raises:
        SettingsInvalid: ``SMTP_URL`` cannot be used.
    """
    address = SmtpAddress.parse(settings.smtp_url.get_secret_value())
    sender = Sender(helo_name(settings), with_ascii_domain(parseaddr(settings.mail_from)[1]))
    problem = await inspect(address, sender)
    if problem is not None:
        report = failure if problem.is_fatal else warning
        return [report("smtp", problem.detail, problem.advice)]
    if not address.is_private:
        detail = "The mail server answers; mails and their links go to it in the clear."
        return [warning("smtp", detail, "use smtps:// or ?tls=starttls")]
    secured = "over TLS" if address.implicit_tls or address.starttls else "on this machine"
    login = "no login" if address.user is None else "logged in"
    return [ok("smtp", f"The mail server answers, {secured}, {login}.")]


CHECK = Check("smtp", check, ADVICE)
