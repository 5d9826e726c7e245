"""The scaling page quotes figures by the names that the suite gives them."""

from benchmarks.catalogue import PARTS
from benchmarks.scaling import MEASURED, PAGE, filled, medians_of, quoted

LINE = "| a thing | does | `latency`: 500 rows, idle: POST to success | 0.05 s |"
OTHER = "| another | does | `bulk`: another figure | 7 |"
PROSE = "| a thing | `PART_BYTES`: a setting | 20 MiB | c |"
RESULTS = {"figures": [{"name": "500 rows, idle: POST to success", "median": 0.03125, "unit": "s"}]}


def test_a_line_takes_the_median_of_its_figure_and_nothing_else_changes() -> None:
    page = "\n".join((LINE, OTHER, PROSE))
    assert quoted(page) == ["500 rows, idle: POST to success", "another figure"]
    expected = page.replace("0.05 s", "0.0312 s")
    assert filled(page, medians_of(RESULTS)) == expected


def test_every_measured_line_of_the_page_names_a_part_and_a_figure() -> None:
    page = PAGE.read_text()
    table = page.split("## What one of each carries")[1].split("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    measured = [line for line in lines if not line.endswith(" | c |")]
    assert len(measured) > len(PARTS) // 2
    assert all(MEASURED.match(line) for line in measured), measured
