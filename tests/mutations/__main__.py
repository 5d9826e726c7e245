"""Mutation tests: ``make mutations MODULES="links leases"``, or of every module.

Cosmic Ray changes one place of a module at a time, in a copy of the repository, and runs the tests
named here; a change that no test notices has survived. ``explained.txt`` names the survivors that
change nothing that matters, and why.
"""

import argparse
import itertools
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.plugins import OPERATOR_PROVIDERS
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkItem, WorkResult

from tests.mutations.operators import OPERATORS

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
    "app/exports/delivery/outbox.py": (
        "tests/exports/delivery/outbox",
        "tests/database/test_queue_starts.py",
        LIFE,
    ),
    "app/exports/queue/leases.py": (
        "tests/exports/queue",
        "tests/database/test_queue_starts.py",
        "tests/exports/execution/test_exporter.py",
        "tests/exports/delivery/test_notices.py",
        LIFE,
    ),
    "app/exports/submission/admission.py": (
        "tests/exports/submission/test_admission.py",
        "tests/exports/submission/test_submit.py",
    ),
}
"""The modules that are mutated, each with the tests that are to notice."""

NOISE = ("core/Variable", "core/NoOp", "core/ExceptionReplacer")
KEPT = (
    "Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Div", "Mod_Mul",
    "Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Lt_GtE", "Gt_LtE", "LtE_Gt",
    "GtE_Lt", "Is_IsNot", "IsNot_Is", "In_NotIn", "NotIn_In", "Delete_Not", "Delete_USub",
)  # fmt: skip
"""Of the replacements of one operator by another, those that say something: the opposite, and the
neighbour at a boundary."""

PATIENCE = 6
"""A mutant is killed that takes so many times as long as the tests take without it."""


HANGS_S = 180
"""A mutant is killed with which a single test takes longer."""

FAULTHANDLERS_END = "Timeout ("
"""What Python prints when that time is over."""


Fate = Literal["killed", "hung", "survived"]


@dataclass(frozen=True)
class Mutant:
    """A change: its line as it was, as it was changed, and what came of it."""

    module: str
    line: int
    before: str
    after: str
    fate: Fate

    @property
    def name(self) -> str:
        """The change in one line, as ``explained.txt`` has it."""
        return f"{self.module}: {self.before} → {self.after}"


def main() -> int:
    """Mutate the chosen modules and print the results; 1 if an explanation lacks or is stale."""
    parser = argparse.ArgumentParser(prog="make mutations")
    parser.add_argument("modules", nargs="*", help="parts of their paths; all without one")
    parser.add_argument("--jobs", type=int, default=4, help="how many mutants are tested at once")
    options = parser.parse_args()
    wanted = options.modules
    OPERATOR_PROVIDERS["own"] = OPERATORS
    chosen = [path for path in MODULES if not wanted or any(part in path for part in wanted)]
    explained = set(explanations())
    amiss = 0
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)  # root's PostgreSQL runs as another user, from these copies
        folders = [Path(parent, str(number)) for number in range(options.jobs)]
        for folder in folders:
            copy_of_the_repository(folder)
        for path in chosen:
            amiss += report(path, mutate(folders, path), explained)
    return 1 if amiss else 0


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


def mutate(folders: list[Path], path: str) -> list[Mutant]:
    """Test every mutant of a module, one at a time in each copy."""
    command = shlex.join(
        [".venv/bin/python", "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider",
         "-p", "tests.mutations.no_shrinking",
         "-o", f"faulthandler_timeout={HANGS_S}", "-o", "faulthandler_exit_on_timeout=true",
         *MODULES[path]]
    )  # fmt: skip
    began = time.monotonic()
    subprocess.run(shlex.split(command), cwd=folders[0], check=True, stdout=subprocess.DEVNULL)
    timeout_s = 10 + PATIENCE * (time.monotonic() - began)
    done = itertools.count(1)

    def test(folder: Path, items: list[WorkItem]) -> list[Mutant]:
        results = []
        for item in items:
            result = mutate_and_test(
                item.mutations, f"sh -c 'cd {folder} && {command} 2>&1'", timeout_s
            )
            results.append(mutant(path, item, result))
            print(f"\r{path}: {next(done)}", end="", file=sys.stderr, flush=True)
        return results

    every = [mutants(folder, path) for folder in folders]
    shares = [items[number :: len(folders)] for number, items in enumerate(every)]
    with ThreadPoolExecutor(len(folders)) as pool:
        results = list(itertools.chain.from_iterable(pool.map(test, folders, shares)))
    print(f" of {len(results)}", file=sys.stderr)
    return results


def mutants(folder: Path, path: str) -> list[WorkItem]:
    """Return the mutations of a module in a copy of the repository, in the same order in each."""
    session = folder / "session.sqlite"
    session.unlink(missing_ok=True)
    with use_db(str(session), WorkDB.Mode.create) as work:
        init([folder / path], work, {})
        wanted = [item for item in work.work_items if is_wanted(item)]
    return sorted(wanted, key=lambda item: _place(item.mutations[0]))


def _place(mutation: MutationSpec) -> tuple[object, ...]:
    return mutation.start_pos, mutation.operator_name, mutation.occurrence


def is_wanted(item: WorkItem) -> bool:
    """Return whether a mutation says something."""
    name = item.mutations[0].operator_name
    if name.startswith(NOISE):
        return False
    is_replacement = "Operator_" in name or "UnaryOperator" in name
    return not is_replacement or name.endswith(KEPT)


def mutant(path: str, item: WorkItem, result: WorkResult) -> Mutant:
    """Return a mutant from the differences that Cosmic Ray shows, and what its tests printed.

    Raises:
        RuntimeError: there were none, since the change could not be made.
    """
    if result.worker_outcome != WorkerOutcome.NORMAL:
        raise RuntimeError(f"{path}: {item.mutations[0]} could not be made: {result.output}")
    lines = result.diff.splitlines()
    removed = [line[1:].strip() for line in lines if line.startswith("-") and line[1:2] != "-"]
    added = [line[1:].strip() for line in lines if line.startswith("+") and line[1:2] != "+"]
    line = item.mutations[0].start_pos[0]
    return Mutant(path, line, " ".join(removed), " ".join(added), fate_of(result))


def fate_of(result: WorkResult) -> Fate:
    """Return what came of a mutant; it hung where a time limit ended its tests."""
    if result.test_outcome == TestOutcome.SURVIVED:
        return "survived"
    output = result.output or ""
    is_ended = output == "timeout" or FAULTHANDLERS_END in output
    return "hung" if is_ended else "killed"


def report(path: str, mutants: list[Mutant], explained: set[str]) -> int:
    """Print a module's result; return how many explanations lack, or explain no survivor."""
    survivors = [each for each in mutants if each.fate == "survived"]
    unexplained = [each for each in survivors if each.name not in explained]
    hung = [each for each in mutants if each.fate == "hung"]
    killed = len(mutants) - len(survivors)
    print(
        f"{path}: {len(mutants)} mutants, {killed} killed ({killed / max(1, len(mutants)):.0%}), "
        f"{len(hung)} of them by a time limit, "
        f"{len(survivors) - len(unexplained)} explained, {len(unexplained)} survived",
        flush=True,
    )
    for each in (*hung, *unexplained):
        print(f"  line {each.line}, {each.fate}\n    {each.name}", flush=True)
    names = {each.name for each in survivors}
    stale = [name for name in explained if name.startswith(f"{path}: ") and name not in names]
    for name in stale:
        print(f"  explained, but no survivor\n    {name}", flush=True)
    return len(unexplained) + len(stale)


if __name__ == "__main__":
    sys.exit(main())
