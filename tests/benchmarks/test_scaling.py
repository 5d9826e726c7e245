"""The scaling page quotes figures by the names that the suite gives them."""

from benchmarks.registry import PARTS
from benchmarks.scaling import (
    MEASURED,
    PAGE,
    figure_reference,
    fill_figures,
    medians_of,
    simulated,
)
from benchmarks.simulation.scenarios import MEASURED_RATES, quick_figures

LINE = "| a thing | does | `latency`: 500 rows, idle: POST to success | 0.05 s |"
OTHER = "| another | does | `bulk`: another figure | 7 |"
PROSE = "| a thing | `PART_BYTES`: a setting | 20 MiB | c |"
RESULTS = {"figures": [{"name": "500 rows, idle: POST to success", "median": 0.03125, "unit": "s"}]}


def test_a_line_takes_the_median_of_its_figure_and_nothing_else_changes() -> None:
    page = "\n".join((LINE, OTHER, PROSE))
    assert figure_reference(page) == ["500 rows, idle: POST to success", "another figure"]
    expected = page.replace("0.05 s", "0.0312 s")
    assert fill_figures(page, medians_of(RESULTS)) == expected


def test_every_measured_line_of_the_page_names_a_part_and_a_figure() -> None:
    page = PAGE.read_text()
    table = page.split("## Capacity of one of each")[1].split("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    measured = [line for line in lines if not line.endswith(" | c |")]
    assert len(measured) > len(PARTS) // 2
    assert all(MEASURED.match(line) for line in measured), measured


def test_the_page_has_the_simulated_figures_of_this_code() -> None:
    page = PAGE.read_text()
    quick = simulated(quick_figures())
    lines = [found for found in MEASURED.finditer(page) if "`simulation`: " in found[0]]
    shown = {found["name"]: found[0].split(" | ")[-1].rstrip(" |") for found in lines}
    assert {name: shown[name] for name in quick} == quick
    assert all("no limit" in name for name in shown.keys() - quick)


def test_the_page_has_the_rates_that_the_simulation_was_fitted_to() -> None:
    table = PAGE.read_text().split("| worker processes | measured |")[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in table.splitlines()[2:]]
    assert {int(workers): float(rate.replace(",", "")) for workers, rate in rows} == MEASURED_RATES
