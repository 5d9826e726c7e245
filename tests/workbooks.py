"""Workbooks as independent readers see them."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from openpyxl import load_workbook
from openpyxl.worksheet.worksheet import Worksheet
from openxml_audit import OpenXmlValidator

Cell: TypeAlias = str | datetime | None
Rows: TypeAlias = list[tuple[Cell, ...]]

ESCAPE = re.compile("_x([0-9a-fA-F]{4})_")
"""A character of a text cell by its code (ECMA-376, ST_Xstring); openpyxl leaves it."""

NOT_FAULTS = ("relationships/theme'", '(`<c t="inlineStr">`)')
"""What the validator says of a workbook without a theme, and of one whose texts are in its cells.

ECMA-376 has both as optional; the second is a forecast of what Excel does on saving.
"""


class Gathered:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.data = b""

    async def write(self, data: bytes) -> None:
        """Take bytes."""
        self.data += data


def decoded(text: str) -> str:
    """Return a text cell as Excel shows it."""
    return ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


@dataclass(frozen=True)
class Workbook:
    """What openpyxl reads: the sheets in order, and the rows of each."""

    sheets: Sequence[Worksheet]

    @property
    def rows(self) -> dict[str, Rows]:
        """The rows of each sheet, with its headings."""
        return {
            sheet.title: [
                tuple(decoded(cell) if isinstance(cell, str) else cell for cell in row)
                for row in sheet.values
            ]
            for sheet in self.sheets
        }


def opened(file: bytes) -> Workbook:
    """Open a workbook with openpyxl."""
    return Workbook(load_workbook(io.BytesIO(file)).worksheets)


def faults(file: bytes, folder: Path) -> list[str]:
    """Return what a validator of ECMA-376's schemas finds wrong, and warnings too."""
    path = folder / "list.xlsx"
    path.write_bytes(file)
    found = OpenXmlValidator().validate(path).errors
    return [
        f"{fault.part_uri}: {fault.description}"
        for fault in found
        if not any(known in fault.description for known in NOT_FAULTS)
    ]
