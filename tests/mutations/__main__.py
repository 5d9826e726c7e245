"""Mutation tests: ``make mutations MODULES="links leases"``, or of every module.

Cosmic Ray changes one place of a module at a time, in a copy of the repository, and runs the tests
named here; a change that no test notices has survived. ``explained.txt`` names the survivors that
change nothing that matters, and why.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.plugins import OPERATOR_PROVIDERS
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkItem

from tests.mutations.operators import Provider

ROOT = Path(__file__).parent.parent.parent
EXPLAINED = Path(__file__).with_name("explained.txt")

PURE = ("--noconftest",)
"""For tests without servers: a third of the time."""

LIFE = "tests/exports/lifecycle"

MODULES: dict[str, tuple[str, ...]] = {
    "app/audience/merge.py": (
        "tests/audience/test_merge.py",
        "tests/audience/test_file_options.py",
    ),
    "app/audience/key_ranges.py": (
        "tests/audience/test_key_ranges.py",
        "tests/exports/execution/test_parallel_copy.py",
    ),
    "app/audience/address_rules.py": ("tests/audience/test_address_rules.py",),
    "app/auth/principal.py": (*PURE, "tests/auth/test_tokens.py"),
    "app/auth/tokens.py": (*PURE, "tests/auth"),
    "app/auth/jwks.py": (*PURE, "tests/auth"),
    "app/email_addresses.py": (*PURE, "tests/test_email_addresses.py"),
    "app/exports/delivery/links.py": (*PURE, "tests/exports/delivery/test_links.py"),
    "app/exports/delivery/mail_lease.py": ("tests/exports/delivery/outbox", LIFE),
    "app/exports/delivery/outbox.py": ("tests/exports/delivery/outbox", LIFE),
    "app/exports/queue/leases.py": (
        "tests/exports/queue",
        "tests/exports/execution/test_exporter.py",
        LIFE,
    ),
    "app/exports/submission/admission.py": ("tests/exports/submission/test_submit.py",),
}
"""The modules that are mutated, each with the tests that are to notice."""

NOISE = ("core/Variable", "core/NoOp")
KEPT = (
    "Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Div", "Mod_Mul",
    "Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Lt_GtE", "Gt_LtE", "LtE_Gt",
    "GtE_Lt", "Is_IsNot", "IsNot_Is", "In_NotIn", "NotIn_In", "Delete_Not", "Delete_USub",
)  # fmt: skip
"""Of the replacements of one operator by another, those that say something: the opposite, and the
neighbour at a boundary."""

PATIENCE = 6
"""A mutant is killed that takes so many times as long as the tests take without it."""


@dataclass(frozen=True)
class Survivor:
    """A change that no test noticed: its line as it was, and as it was changed."""

    module: str
    line: int
    before: str
    after: str

    @property
    def name(self) -> str:
        """The change in one line, as ``explained.txt`` has it."""
        return f"{self.module}: {self.before} → {self.after}"


def main() -> int:
    """Mutate the chosen modules and print a table; 1 if a survivor is not explained."""
    parser = argparse.ArgumentParser(prog="make mutations")
    parser.add_argument("modules", nargs="*", help="parts of their paths; all without one")
    wanted = parser.parse_args().modules
    OPERATOR_PROVIDERS["text"] = Provider()
    chosen = [path for path in MODULES if not wanted or any(part in path for part in wanted)]
    explained = set(explanations())
    unexplained = 0
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # root's PostgreSQL runs as another user, from this copy
        copy_of_the_repository(Path(folder))
        for path in chosen:
            unexplained += report(path, *mutate(Path(folder), path), explained)
    return 1 if unexplained else 0


def explanations() -> dict[str, str]:
    """Return the explained survivors, and why each is equivalent."""
    blocks = EXPLAINED.read_text().strip().split("\n\n")
    entries = [block.partition("\n") for block in blocks if not block.startswith("#")]
    return {name: reason.strip() for name, _, reason in entries}


def copy_of_the_repository(folder: Path) -> None:
    """Copy what git tracks or would, so that the working tree is never changed."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")


def mutate(folder: Path, path: str) -> tuple[Counter[str], list[Survivor]]:
    """Test every mutant of a module; return how many ended how, and the survivors."""
    command = shlex.join(
        [".venv/bin/python", "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider",
         *MODULES[path]]
    )  # fmt: skip
    began = time.monotonic()
    subprocess.run(shlex.split(command), cwd=folder, check=True, stdout=subprocess.DEVNULL)
    timeout_s = 10 + PATIENCE * (time.monotonic() - began)
    outcomes, survivors = Counter[str](), []
    with use_db(str(folder / "session.sqlite"), WorkDB.Mode.create) as work:
        init([folder / path], work, {})
        items = [item for item in work.work_items if is_wanted(item)]
    for number, item in enumerate(items, 1):
        result = mutate_and_test(item.mutations, f"sh -c 'cd {folder} && {command}'", timeout_s)
        survived = result.test_outcome == TestOutcome.SURVIVED
        outcomes["survived" if survived else "killed"] += 1
        if survived:
            survivors.append(survivor(path, item, result.diff))
        print(f"\r{path}: {number} of {len(items)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return outcomes, survivors


def is_wanted(item: WorkItem) -> bool:
    """Return whether a mutation says something."""
    name = item.mutations[0].operator_name
    if name.startswith(NOISE):
        return False
    is_replacement = "Operator_" in name or "UnaryOperator" in name
    return not is_replacement or name.endswith(KEPT)


def survivor(path: str, item: WorkItem, diff: str) -> Survivor:
    """Return a survivor from the differences that Cosmic Ray shows."""
    lines = diff.splitlines()
    removed = [line[1:].strip() for line in lines if line.startswith("-") and line[1:2] != "-"]
    added = [line[1:].strip() for line in lines if line.startswith("+") and line[1:2] != "+"]
    line = item.mutations[0].start_pos[0]
    return Survivor(path, line, " ".join(removed), " ".join(added))


def report(
    path: str, outcomes: Counter[str], survivors: list[Survivor], explained: set[str]
) -> int:
    """Print a module's result; return how many survivors are not explained."""
    unexplained = [each for each in survivors if each.name not in explained]
    share = outcomes["killed"] / max(1, outcomes.total())
    print(
        f"{path}: {outcomes.total()} mutants, {outcomes['killed']} killed ({share:.0%}), "
        f"{len(survivors) - len(unexplained)} explained, {len(unexplained)} survived",
        flush=True,
    )
    for each in unexplained:
        print(f"  line {each.line}\n    {each.name}", flush=True)
    return len(unexplained)


if __name__ == "__main__":
    sys.exit(main())
