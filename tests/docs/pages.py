"""The repository's Markdown pages, their headings and their links."""

import re
from pathlib import Path

from devstack.service_processes import ROOT

FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
EDGE = re.compile(r"(\w+|\[\*\]) --> (\w+|\[\*\])")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)|src=\"(?!https?:)([^\"]+)\"")


def pages() -> list[Path]:
    """Return every Markdown page of the repository."""
    folders = (ROOT, ROOT / "docs", ROOT / "docs" / "adr")
    templates = sorted((ROOT / ".github").rglob("*.md"))
    return [page for folder in folders for page in sorted(folder.glob("*.md"))] + templates


def state_transitions(name: str) -> set[tuple[str, str]]:
    """Return the edges of a page's state diagram; ``[*]`` stands at both ends."""
    diagram = (ROOT / "docs" / name).read_text().split("stateDiagram-v2")[1].split("```")[0]
    return set(EDGE.findall(diagram))


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> list[str]:
    """Return a page's headings as GitHub's anchors."""
    headings: list[str] = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


def links(page: Path) -> list[tuple[Path, str]]:
    """Return the file and the anchor (or nothing) of each relative link."""
    found = LINK.findall(prose(page))
    return [
        ((page.parent / (path or image)).resolve() if path or image else page, anchor)
        for path, anchor, image in found
    ]


def blocks(page: Path, heading: str) -> list[str]:
    """Return the fenced blocks between a heading and the next one, without their fences."""
    text = page.read_text().partition(f"\n{heading}\n")[2]
    section = re.split(r"^#+ ", text, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^```\w+\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
