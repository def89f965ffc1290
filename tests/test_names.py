"""Names and words of the source tree: one name has one meaning, and sentences use standard terms."""

import ast
import re
import warnings
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest

from diurnal import errors

SOURCE = Path(__file__).parents[1] / "src" / "diurnal"
MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))
STANDARD_TERMS = {"inlining", "metadata_routing", "scoring", "tuning"}
PROTOCOLS = {"__getattr__", "__dir__", "main", "upgrade"}  # of Python, of programs and of Alembic
ODD_WORDS = r"told|heard|whoever|nobody|somebody|words|of the world|at night|dethrone\w*|says so"


@cache
def parsed_modules():
    return {path: ast.parse((SOURCE / path).read_text(encoding="utf-8")) for path in MODULES}


def test_modules_are_named_by_nouns():
    gerunds = {path.stem for path in MODULES if path.stem.endswith("ing")} - STANDARD_TERMS
    assert not {name for name in gerunds if not name[:4].isdecimal()}, "migrations keep their names"


def test_no_two_modules_have_the_same_name():
    names = Counter(path.stem for path in MODULES if path.stem != "__init__")
    assert [name for name, count in names.items() if count > 1] == []


def test_a_function_name_stands_in_two_modules_at_most():
    modules = defaultdict(set)
    for path, tree in parsed_modules().items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name not in PROTOCOLS:
                modules[node.name].add(str(path))
    assert {name: sorted(found) for name, found in modules.items() if len(found) > 2} == {}


def test_most_function_names_have_two_words():
    names = [
        node.name
        for tree in parsed_modules().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("__")
    ]
    single = [name for name in names if "_" not in name.strip("_")]
    assert len(single) < 0.4 * len(names), f"{len(single)} of {len(names)} function names are one word"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_sentences_use_standard_terms(path):
    text = (SOURCE / path).read_text(encoding="utf-8")
    found = [line.strip() for line in text.splitlines() if re.search(rf"\b({ODD_WORDS})\b", line)]
    assert found == []


def test_exceptions_end_in_error():
    classes = {name for name in errors.__all__ if name != "Problem"}
    assert [name for name in classes if not name.endswith("Error")] == []


def test_former_names_of_errors_are_deprecated_aliases():
    with pytest.warns(DeprecationWarning, match="use diurnal.errors.TransientError"):
        assert errors.TryAgainLater is errors.TransientError
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        former = {getattr(errors, name) for name in errors._RENAMED}
    assert len(former) == 11
    with pytest.raises(AttributeError, match="has no attribute 'TryAgain'"):
        errors.TryAgain  # noqa: B018 - the attribute access is the test
