"""Texts of the page, for tests that read what a viewer reads."""

from __future__ import annotations

import re


def section_text(page: str, name: str) -> str:
    """Return the text of a section of a page, without its elements."""
    _, found, after = page.partition(f'<section id="{name}">')
    assert found, f"there is no section {name}"
    content = after.partition("</section>")[0]
    return " ".join(re.sub(r"<[^>]+>", " ", content).split())
