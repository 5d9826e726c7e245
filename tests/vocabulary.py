"""The retired words of ``retired_words.txt``, and where they still occur.

``python -m tests.vocabulary`` lists each place; with ``--pending`` only those of words that
are not enforced yet; with ``--prune`` it enforces pending words that no longer occur.
"""

import io
import keyword
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIST = Path(__file__).with_name("retired_words.txt")

FOLDERS = ("app", "workers", "benchmarks", "devstack", "docs", "ops")
FILES = ("README.md",)
SUFFIXES = {".py", ".md", ".yml", ".yaml", ".json", ".js", ".css", ".html", ".txt", ".service"}

PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
"""The words that an identifier is made of: ``KeyOrder``, ``key_order``, ``KEY_ORDER``."""


@dataclass
class Retired:
    """What is retired, by the sections of the list.

    ``identifiers`` are whole names, ``names`` words that no Python name may
    contain, ``words`` words and phrases that no text may contain, ``allowed``
    pairs of a path and a phrase in which a retired word is right, ``pending``
    the words that are not enforced yet.
    """

    identifiers: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Use:
    """A place where a retired word stands."""

    word: str
    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word}: {self.text.strip()[:100]}"


def read_list(text: str) -> Retired:
    """Return the sections of a list; a ``#`` begins a comment."""
    retired = Retired()
    section: list[str] = []
    for line in text.splitlines():
        entry = line.partition("# ")[0].strip() if not line.startswith("#") else ""
        if entry.startswith("["):
            section = getattr(retired, entry.strip("[]"))
        elif entry:
            section.append(entry)
    return retired


def pattern_of(words: list[str], flags: int = 0) -> re.Pattern[str]:
    """Return what matches any of the words as a whole, over the end of a line too."""
    parts = (r"\s+(?:# )?".join(map(re.escape, word.split())) for word in words)
    return re.compile(rf"(?<![A-Za-z])(?:{'|'.join(parts) or '(?!)'})(?![A-Za-z])", flags)


def uses_in(path: str, text: str, retired: Retired) -> Iterator[Use]:
    """Yield each retired word in a file, allowed phrases aside."""
    shown = _without_allowed(path, text, retired.allowed)
    lines = text.splitlines()
    found = [
        *pattern_of(retired.words, re.IGNORECASE).finditer(shown),
        *_identifiers(tuple(retired.identifiers)).finditer(shown),
    ]
    for match in found:
        number = shown.count("\n", 0, match.start())
        word = " ".join(match[0].replace("#", "").split())
        yield Use(word, path, number + 1, lines[number])
    if path.endswith(".py"):
        yield from _names_in(path, shown, lines, set(retired.names))


@cache
def _identifiers(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names)) or '(?!)'})(?!\w)")


def _without_allowed(path: str, text: str, allowed: list[str]) -> str:
    for entry in allowed:
        where, _, phrase = entry.partition(": ")
        if fnmatch(path, where):
            text = text.replace(phrase, " " * len(phrase))
    return text


def _names_in(path: str, text: str, lines: list[str], names: set[str]) -> Iterator[Use]:
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, IndentationError):
        return
    for token in tokens:
        if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
            for part in {part.lower() for part in PART.findall(token.string)} & names:
                yield Use(part, path, token.start[0], lines[token.start[0] - 1])


def files() -> Iterator[Path]:
    """Yield the files in which no retired word may stand."""
    yield from (ROOT / name for name in FILES)
    for folder in FOLDERS:
        yield from (path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in SUFFIXES)


def uses(retired: Retired) -> list[Use]:
    """Return every use in the repository."""
    return [
        use
        for path in files()
        for use in uses_in(str(path.relative_to(ROOT)), path.read_text(), retired)
    ]


def prune(found: list[Use]) -> None:
    """Delete the pending words that no longer occur from the list."""
    used = {use.word.lower() for use in found}
    head, section, pending = LIST.read_text().partition("[pending]\n")
    left = [word for word in pending.splitlines() if word.lower() in used]
    LIST.write_text(head + section + "".join(f"{word}\n" for word in left))


def main() -> None:
    """Print each use."""
    retired = read_list(LIST.read_text())
    pending = {word.lower() for word in retired.pending}
    found = uses(retired)
    if "--prune" in sys.argv:
        prune(found)
    for use in found:
        if "--pending" not in sys.argv or use.word.lower() in pending:
            print(use)


if __name__ == "__main__":
    main()
