"""The page for sellers' support names the headings, options and limits there are."""

import re

from app.api.schemas.export_create import ExportCreate
from app.audience.headings import heading
from app.audience.merge import available_columns
from app.audience.sources import SOURCES
from app.exports.delivery.mail_content import SPREADSHEET_ROWS
from app.i18n.formats import number
from app.i18n.locales import LOCALES
from devstack.service_processes import ROOT

PAGE = (ROOT / "docs" / "use-the-list.md").read_text()

COLUMNS = available_columns([source.key for source in SOURCES])


def test_headings_are_those_of_the_file_in_every_language() -> None:
    rows = [
        [f"`{column}`", *(f"`{heading(column, each)}`" for each in LOCALES)] for column in COLUMNS
    ]
    head = ["column", *(f"`{locale}`" for locale in LOCALES)]
    for row in (head, *rows):
        assert f"| {' | '.join(row)} |\n" in PAGE


def test_the_options_that_it_names_exist() -> None:
    named = set(re.findall(r'`"(\w+)"', PAGE)) | {"joined_after", "joined_before"}
    assert named <= set(ExportCreate.model_fields)


def test_a_sheets_rows_are_those_of_the_code() -> None:
    assert set(re.findall(r"1,048,\d+", PAGE)) == {
        number("en", SPREADSHEET_ROWS),
        number("en", SPREADSHEET_ROWS + 1),
    }
