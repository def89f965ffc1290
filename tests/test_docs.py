"""What the pages say has run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")])


def test_commands_page_is_what_the_program_says():
    code = "import sys; sys.path.insert(0, 'docs'); import generate; sys.stdout.write(generate.page())"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said == (ROOT / "docs" / "commands.md").read_text(encoding="utf-8"), "run `make docs`"


def test_readmes_experiment_is_the_examples():
    shown = re.search(r"```python\n# experiments/breast_cancer.py\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    tidied = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--line-length", "120", "-"],
        input=shown[1],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    example = (ROOT / "examples" / "breast_cancer" / "experiments" / "breast_cancer.py").read_text()
    body = tidied[tidied.index("def breast_cancer") :]
    assert body.strip() in example


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_command_in_a_page_exists():
    from diurnal.cli.commands import diurnal

    for page in PAGES:
        for word in re.findall(r"^diurnal (\w+)", page.read_text(encoding="utf-8"), re.M):
            assert word in diurnal.commands, f"{page.name} names `diurnal {word}`"
