"""The templates of mails that a storefront puts in place of the shipped ones."""

from app.config import Settings
from app.doctor.findings import Check, CheckResult, failure, ok, warning
from app.errors import SettingsInvalid
from app.exports.delivery.mail_templates import REPLACEABLE, MailTemplates

NAME = "templates"
ADVICE = "fix the template; see docs/mail-templates.md"


async def check(settings: Settings) -> list[CheckResult]:
    """Render each template; find files that have no use."""
    if settings.mail_templates_dir is None:
        return [ok(NAME, "The shipped templates are used.")]
    templates = MailTemplates(settings.mail_templates_dir)
    try:
        templates.check()
    except SettingsInvalid as error:
        return [failure(NAME, str(error), ADVICE)]
    if unused := templates.unused_files():
        detail = f"MAIL_TEMPLATES_DIR: no mail uses {', '.join(unused)}."
        return [warning(NAME, detail, f"replace one of {', '.join(REPLACEABLE)}")]
    return [ok(NAME, "Every template is valid, in every language.")]


CHECK = Check(NAME, check, ADVICE)
