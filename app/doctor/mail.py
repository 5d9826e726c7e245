"""The mail server: connect, TLS and login, without sending anything."""

from app.adapters.smtp_address import SmtpAddress
from app.adapters.smtp_inspection import inspect
from app.config import Settings
from app.doctor.findings import Check, Finding, failure, ok, warning

ADVICE = "start the mail server, or mend SMTP_URL"


async def examine(settings: Settings) -> list[Finding]:
    """Return whether mails could be handed over.

    Raises:
        SettingsInvalid: ``SMTP_URL`` cannot be used.
    """
    address = SmtpAddress.parse(settings.smtp_url.get_secret_value())
    trouble = await inspect(address)
    if trouble is not None:
        return [failure("smtp", trouble.detail, trouble.advice or ADVICE)]
    if not address.is_private:
        detail = "The mail server answers; mails and their links go to it in the clear."
        return [warning("smtp", detail, "use smtps:// or ?tls=starttls")]
    secured = "over TLS" if address.implicit_tls or address.starttls else "on this machine"
    login = "no login" if address.user is None else "logged in"
    return [ok("smtp", f"The mail server answers, {secured}, {login}.")]


CHECK = Check("smtp", examine, ADVICE)
