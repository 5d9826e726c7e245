"""Every relative link of a page leads to a file and a heading that exist."""

from pathlib import Path

import pytest

from devstack.service_processes import ROOT
from tests.docs.pages import anchors, links, pages


def test_the_readme_and_every_document_are_checked() -> None:
    names = {str(page.relative_to(ROOT)) for page in pages()}
    assert {"README.md", "docs/architecture.md", "docs/adr/README.md"} <= names


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    for target, anchor in links(page):
        assert target.exists(), target
        if anchor:
            assert anchor in anchors(target), (target.name, anchor)


def test_an_image_is_a_link(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('# A `b`, c\n\n[here](#a-b-c) <img src="d.png"> [web](https://e.example)\n')
    assert links(page) == [(page, "a-b-c"), (tmp_path / "d.png", "")]
    assert anchors(page) == ["a-b-c"]
