"""How often the gate errs, by the benchmark's own simulation: fewer days, and seeded."""

import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from diurnal.backends.sklearn import champion_test

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from gate_simulation import CASES, area_lost, compared, rates, years_with_promotion

LARGE = [case for case in CASES if case.n == 2_000]
SMALL = [case for case in CASES if case.n < 2_000]


@pytest.fixture(autouse=True)
def without_models_of_blas(monkeypatch):
    monkeypatch.setattr(champion_test, "fit_context", nullcontext)


@pytest.mark.parametrize("case", LARGE, ids=lambda case: case.scoring)
def test_a_worse_challenger_is_refused_on_95_of_100_days(case):
    assert rates(case, 1, 200).detected >= 0.95


@pytest.mark.parametrize("case", SMALL, ids=lambda case: f"{case.scoring}-{case.n}")
def test_an_equal_challenger_is_hardly_refused_and_hardly_ever_superior(case):
    found = rates(case, 730, 1)
    assert found.refused <= 0.02
    assert found.promoted <= 0.01
    assert found.covered >= 0.93


def test_an_equal_challenger_is_hardly_ever_proven_better():
    case, rng, n_years = SMALL[0], np.random.default_rng(0), 60
    days = (compared(case, rng) for _ in range(n_years * 365))
    assert years_with_promotion(days, case.n, n_years) <= 0.05


@pytest.mark.parametrize("case", [SMALL[0], SMALL[-1]], ids=lambda case: f"{case.scoring}-{case.n}")
def test_a_better_challenger_is_proven_better(case):
    assert rates(case, 1, 400).batches <= 40


def test_the_areas_of_the_simulation_differ_by_what_it_says():
    assert area_lost(next(case for case in LARGE if case.scoring == "roc_auc").worse) == pytest.approx(0.03, abs=1e-4)
