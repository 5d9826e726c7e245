"""The files opened by LibreOffice, where it is installed: the same cells, no formula."""

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.audience.merge import Merge
from app.audience.sheet_rows import sheet_rows_sql
from app.database.connections import Connection
from app.exports.execution.xlsx import XlsxWriter
from app.models import FileOptions
from tests.security.test_csv import INSERT, SEEN_AT, connection, exported, rows
from tests.workbooks import Gathered

__all__ = ["connection"]

SOFFICE = shutil.which("soffice")
CONVERT_S = 120

pytestmark = pytest.mark.office

AS_TEXT = "--infilter=CSV:44,34,76,1,1/2/2/2"
"""Comma, double quote, UTF-8, from line 1, both columns as text: nothing is interpreted."""

CREDULOUS = "--infilter=CSV:44,34,76,1,,0,false,true,false,false,false,0,true"
"""The same with numbers detected and formulas calculated."""

WORKBOOK = "--infilter=Calc MS Excel 2007 XML"

QUOTED = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,true"
FORMULA = re.compile(r'table:formula="([^"]*)"')

characters = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn"))
cells = st.one_of(
    st.text(characters, min_size=1, max_size=20),
    st.text("=+-@\t\n\"',;|\\.a1", min_size=1, max_size=8),
    st.sampled_from(["\\.", "NULL", '"', "'=1", "1e5", "TRUE", "=cmd|' /C calc'!A0"]),
)
"""What a spreadsheet can hold: LibreOffice drops other control characters."""

by_hypothesis = settings(
    max_examples=2,  # each starts LibreOffice, so that the lists are long instead
    suppress_health_check=list(HealthCheck),
)
lists = st.sets(cells, min_size=50, max_size=200)


class LibreOffice:
    """Converts files, with its own profile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def convert(self, file: bytes, reading: str, to: str, extension: str = "csv") -> str:
        """Return what LibreOffice writes of a file that it reads so."""
        given_file, made = self._folder / f"list.{extension}", self._folder / "made"
        given_file.write_bytes(file)
        profile = f"-env:UserInstallation={(self._folder / 'profile').as_uri()}"
        subprocess.run(
            [
                *(str(SOFFICE), profile, "--headless", reading),
                *("--convert-to", to, "--outdir", str(made), str(given_file)),
            ],
            check=True,
            capture_output=True,
            timeout=CONVERT_S,
        )
        return (made / f"list.{to.partition(':')[0]}").read_bytes().decode()

    def opened_workbook(self, file: bytes, to: str) -> str:
        """Return what LibreOffice writes of a workbook."""
        return self.convert(file, WORKBOOK, to, "xlsx")

    def formulas(self, file: bytes) -> list[str]:
        """Return every formula that it sees when it believes all that it reads."""
        return FORMULA.findall(self.convert(file, CREDULOUS, "fods"))


async def exported_workbook(connection: Connection, emails: set[str]) -> bytes:
    """Return the workbook of a seller who knows exactly these people."""
    merge = Merge(1, ("follower",), FileOptions(format="xlsx"))
    sink = Gathered()
    writer = XlsxWriter(sink, merge.options)
    await connection.execute("DELETE FROM audience_members")
    await connection.execute(INSERT, sorted(emails), SEEN_AT)
    await writer.begin()
    await connection.copy_from_query(sheet_rows_sql(merge), output=writer.write, format="text")
    await writer.finish()
    return sink.data


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> LibreOffice:
    """LibreOffice."""
    return LibreOffice(tmp_path_factory.mktemp("office"))


@by_hypothesis
@given(emails=lists)
async def test_libreoffice_reads_back_what_was_there(
    connection: Connection, office: LibreOffice, emails: set[str]
) -> None:
    read = office.convert(await exported(connection, emails, safe=False), AS_TEXT, QUOTED)
    assert list(csv.reader(io.StringIO(read, newline=""), strict=True)) == rows(emails)


@by_hypothesis
@given(emails=lists)
async def test_libreoffice_sees_no_formula(
    connection: Connection, office: LibreOffice, emails: set[str]
) -> None:
    hostile = emails | {"=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1+1", "\r=1+1"}
    assert office.formulas(await exported(connection, hostile, safe=True)) == []


async def test_libreoffice_would_see_a_formula_without_the_guard(
    connection: Connection, office: LibreOffice
) -> None:
    file = await exported(connection, {"=cmd|' /C calc'!A0"}, safe=False)
    assert len(office.formulas(file)) == 1


@by_hypothesis
@given(emails=lists)
async def test_libreoffice_reads_a_workbook_as_it_is(
    connection: Connection, office: LibreOffice, emails: set[str]
) -> None:
    read = office.opened_workbook(await exported_workbook(connection, emails), QUOTED)
    assert list(csv.reader(io.StringIO(read, newline=""), strict=True)) == rows(emails)


async def test_libreoffice_sees_texts_dates_and_a_filter_in_a_workbook(
    connection: Connection, office: LibreOffice
) -> None:
    file = await exported_workbook(connection, {"=1+1", "+1", "-1", "@SUM(1)", "1", "_x0041_"})
    read = office.opened_workbook(file, "fods")
    assert FORMULA.findall(read) == []
    assert read.count(f'office:date-value="{SEEN_AT:%Y-%m-%dT%H:%M:%S}"') == 6
    assert 'table:display-filter-buttons="true"' in read
