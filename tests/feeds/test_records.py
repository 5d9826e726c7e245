"""Records of CSV files, broken ones above all."""

import gzip
import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.feeds.records import LINE_BYTES_MAX, Record, opened, read_records
from app.feeds.staging import Rejected

LONG = "x" * LINE_BYTES_MAX


def records(content: bytes) -> list[Record | Rejected]:
    return list(read_records(opened(io.BufferedReader(io.BytesIO(content)))))


def told(content: bytes) -> list[tuple[int, str | list[str]]]:
    return [
        (each.line, each.cells if isinstance(each, Record) else each.reason)
        for each in records(content)
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines_are_cut_at_their_commas(end: bytes) -> None:
    content = end.join([b"a,b", b"1,", b"", b" 2 ,\xc3\xa9", b'"3,""4""",5'])
    assert told(content) == [
        (1, ["a", "b"]),
        (2, ["1", ""]),
        (4, [" 2 ", "é"]),
        (5, ['3,"4"', "5"]),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_cell() -> None:
    assert told(b"\xef\xbb\xbfa,b\n") == [(1, ["a", "b"])]


def test_a_record_over_several_lines_counts_from_its_first() -> None:
    content = b'a,b\n1,"x\ny\r\nz"\n2,w\n'
    assert told(content)[1:] == [(2, ["1", "x\ny\r\nz"]), (5, ["2", "w"])]


def test_an_open_quote_spoils_its_own_line_only() -> None:
    found = told(b'a,b\n1,"x\n2,y\n3,z\n')
    assert found[1] == (2, "is no CSV: unexpected end of data")
    assert found[2:] == [(3, ["2", "y"]), (4, ["3", "z"])]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1,\xff", "is not UTF-8"),
        (b"1,a\0b", "holds a NUL"),
        (b'1,"a"b', "is no CSV: ',' expected after '\"'"),
        (b"1," + LONG.encode(), "is longer than 1,048,576 bytes"),
        (b'1,"' + LONG.encode() + b'"', "is longer than 1,048,576 bytes"),
    ],
)
def test_a_line_that_is_no_record_is_told_and_passed_over(line: bytes, reason: str) -> None:
    found = told(b"a,b\n" + line + b"\n2,y\n")
    assert found == [(1, ["a", "b"]), (2, reason), (3, ["2", "y"])]


def test_a_lone_carriage_return_is_no_line_end() -> None:
    found = told(b"a,b\n1,x\ry\n2,z\n")
    assert isinstance(found[1][1], str)
    assert found[2] == (3, ["2", "z"])


def test_gzip_is_known_by_its_first_bytes() -> None:
    assert told(gzip.compress(b"a,b\n1,2\n")) == [(1, ["a", "b"]), (2, ["1", "2"])]


def test_a_compressed_file_that_breaks_off_gives_whole_lines_only() -> None:
    lines = [b"%d,ann%d@example.com" % (number, number * 7919) for number in range(20_000)]
    whole = gzip.compress(b"\n".join(lines))
    *read, last = told(whole[: len(whole) * 2 // 3])
    assert len(read) > 1000
    assert all(
        cells == line.decode().split(",")
        for (_, cells), line in zip(read, lines[: len(read)], strict=True)
    )
    assert last[0] == len(read) + 1
    assert "the compressed file is broken from here on" in last[1]


def test_an_empty_file_has_no_records() -> None:
    assert told(b"") == told(b"\n\r\n\n") == []


@given(st.binary(max_size=300).map(lambda noise: noise.replace(b"\x1f\x8b", b"")))
def test_whatever_the_bytes_every_line_is_told_once_and_in_order(noise: bytes) -> None:
    lines = [each.line for each in records(noise)]
    assert all(earlier < later for earlier, later in pairwise(lines))
    assert all(1 <= line <= noise.count(b"\n") + 1 for line in lines)
