"""Paired tests against references, and on many samples of models that are equally good."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, brunnermunzel, kstest, permutation_test
from sklearn.metrics import roc_auc_score

from diurnal.backends.paired_tests import delong, mcnemar, resampled, sign_flips


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 200))
def test_mcnemar_is_the_binomial_test_of_the_samples_that_differ(twin, champion, alike):
    found = mcnemar(twin, champion, twin + champion + alike)
    n = twin + champion
    for p, side in ((found.p_worse, "less"), (found.p_better, "greater")):
        want = binomtest(twin, n, alternative=side).pvalue if n else 1.0 if twin + champion + alike else None
        assert p == (None if want is None else pytest.approx(want, rel=1e-9))
    if twin + champion + alike:
        assert -1 <= found.low <= found.difference <= found.high <= 1


@pytest.mark.parametrize(("twin", "champion", "n"), [(1, 9, 100), (0, 5, 30), (12, 30, 400), (7, 7, 20), (1, 0, 44)])
def test_the_interval_of_mcnemar_is_that_of_the_score_test(twin, champion, n):
    """At either bound the statistic, its nuisance parameter found by search, is the normal quantile."""

    def statistic(delta):
        def lacking(q):  # q: probability that only the champion is right
            p = q + delta
            terms = [(twin, p), (champion, q), (n - twin - champion, 1 - p - q)]
            return -sum(count * np.log(max(chance, 1e-300)) for count, chance in terms)

        q = minimize_scalar(
            lacking, bounds=(max(0, -delta), (1 - delta) / 2), method="bounded", options={"xatol": 1e-12}
        )
        return (twin - champion - n * delta) / np.sqrt(n * (2 * q.x + delta - delta**2))

    found = mcnemar(twin, champion, n)
    assert statistic(found.low) == pytest.approx(1.96, abs=2e-3)
    assert statistic(found.high) == pytest.approx(-1.96, abs=2e-3)


@pytest.mark.parametrize("n", [1, 2, 5, 9, 12])
@pytest.mark.parametrize("weighted", [False, True])
def test_few_sign_flips_are_enumerated(n, weighted):
    rng = np.random.default_rng(n)
    twin, champion = rng.exponential(size=(2, n)).round(1)
    weights = rng.integers(1, 4, n) if weighted else None
    parts = (champion - twin) * (1 if weights is None else weights)
    sums = np.array([np.dot(signs, np.abs(parts)) for signs in product((-1, 1), repeat=n)])
    found = sign_flips(twin, champion, weights)
    assert found.p_worse == pytest.approx(np.mean(sums <= parts.sum() + 1e-9))
    assert found.p_better == pytest.approx(np.mean(sums >= parts.sum() - 1e-9))
    assert found.difference == pytest.approx(np.average(champion - twin, weights=weights))


@pytest.mark.parametrize("kind", ["normal", "heavy", "one", "zero-one"])
def test_many_sign_flips_are_as_drawn_ones(kind):
    rng = np.random.default_rng(8)
    gain = {
        "normal": lambda: rng.normal(-0.15, 1, 150),
        "heavy": lambda: rng.standard_t(1.5, 150) - 0.3,
        "one": lambda: np.append(rng.normal(-0.2, 1, 80), 1e6),
        "zero-one": lambda: rng.choice([-1.0, 0, 0, 0, 0.5], 200),
    }[kind]()
    found = sign_flips(np.zeros(len(gain)), gain)
    how = {"permutation_type": "samples", "alternative": "less", "n_resamples": 40_000}
    drawn = permutation_test((gain,), np.sum, **how, rng=np.random.default_rng(0))
    assert found.p_worse == pytest.approx(drawn.pvalue, abs=0.01 if kind == "zero-one" else 0.006)


def test_losses_of_one_size_are_counted():
    found = sign_flips([1] * 9 + [0] * 91, [0] * 9 + [1] + [0] * 90)
    assert found.p_worse == pytest.approx(mcnemar(1, 9, 100).p_worse)
    assert (found.twin_wins, found.champion_wins) == (1, 9)


def brute(positive, twin, champion):
    """DeLong as it is written in the paper: all pairs."""
    x, y = np.flatnonzero(positive), np.flatnonzero(~positive)
    wins = [np.sign(score[x][:, None] - score[y][None, :]) / 2 + 0.5 for score in (twin, champion)]
    areas = [one.mean() for one in wins]
    s10 = np.cov([one.mean(axis=1) for one in wins]) / len(x)
    s01 = np.cov([one.mean(axis=0) for one in wins]) / len(y)
    spread = s10 + s01
    return areas, spread[0, 0] + spread[1, 1] - 2 * spread[0, 1]


@pytest.mark.parametrize("ties", [False, True])
def test_delong_is_the_published_variance(ties):
    rng = np.random.default_rng(4)
    positive = rng.random(300) < 0.2
    twin, champion = positive + rng.normal(size=(2, 300))
    if ties:
        twin, champion = twin.round(), champion.round(1)
    areas, variance = brute(positive, twin, champion)
    found = delong(positive, twin, champion)
    assert areas == pytest.approx([roc_auc_score(positive, twin), roc_auc_score(positive, champion)])
    assert found.difference == pytest.approx(areas[0] - areas[1])
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.sqrt(variance), rel=0.03), "t, and not normal"
    assert found.p_worse + found.p_better == pytest.approx(1)


def test_one_area_against_a_constant_is_the_test_of_brunner_and_munzel():
    rng = np.random.default_rng(5)
    positive = np.repeat([True, False], [9, 14])
    score = rng.normal(size=23).round(1) + 0.5 * positive
    want = brunnermunzel(score[~positive], score[positive], alternative="less")
    assert delong(positive, score, np.zeros(23)).p_better == pytest.approx(want.pvalue, rel=1e-9)


def test_weights_of_delong_repeat_samples():
    rng = np.random.default_rng(6)
    positive = rng.random(200) < 0.4
    twin, champion = positive + rng.normal(size=(2, 200)).round(1)
    weights = rng.integers(0, 3, 200)
    found = delong(positive, twin, champion, weights)
    want = [roc_auc_score(positive, score, sample_weight=weights) for score in (twin, champion)]
    assert found.difference == pytest.approx(want[0] - want[1])
    assert found.n_tested == (weights > 0).sum()
    assert delong(positive, twin, champion, np.full(200, 7)).p_worse == pytest.approx(
        delong(positive, twin, champion).p_worse
    )


@pytest.mark.parametrize(
    ("positive", "twin", "champion", "p_worse", "p_better"),
    [
        ([1, 1, 1], [1, 2, 3], [1, 2, 3], None, None),
        ([], [], [], None, None),
        ([0, 1], [1, 2], [2, 1], 0.5, 0.5),
        ([0, 0, 1, 1], [1, 1, 1, 1], [2, 2, 2, 2], 1.0, 1.0),
        ([0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0], 1.0, 1 / 8),
        ([0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6], 1 / 8, 1.0),
    ],
)
def test_delong_of_few_or_equal_samples(positive, twin, champion, p_worse, p_better):
    found = delong(positive, twin, champion)
    assert (found.p_worse, found.p_better) == (p_worse, p_better)


def test_what_has_no_weight_is_no_sample():
    assert sign_flips([1.0], [2.0], [0.0]).p_worse is None
    assert delong([0, 1, 1], [1, 2, 3], [1, 2, 3], [1, 0, 0]).p_worse is None
    assert mcnemar(0, 0, 0).p_worse is None
    assert sign_flips([1.0, 9.0], [2.0, 1.0], [1.0, 0.0]).n_tested == 1


def test_a_loss_that_is_not_finite_is_a_large_one():
    champion = np.full(20, 0.5)
    assert sign_flips(np.full(20, np.nan), champion).p_worse == pytest.approx(0.5**20)
    assert sign_flips(np.full(20, np.inf), np.full(20, np.inf)).p_worse == 1.0
    assert sign_flips([1.0, 2.0], [2.0, 2.5], scale=np.nan).difference is None
    assert sign_flips([1.0, 2.0], [2.0, 2.5], scale=np.nan).p_better == 0.25


def f1_of(y, answers):
    def scores(places, swapped):
        one = np.where(swapped, answers[1][places], answers[0][places])
        other = np.where(swapped, answers[0][places], answers[1][places])
        truth = y[places]
        return tuple(2 * (truth & a).sum() / max(1, truth.sum() + a.sum()) for a in (one, other))

    return scores


def errors(rng, n, shares):
    """Draw labels, and two answers that are both wrong on some samples and one by one on others."""
    y, u = rng.random(n) < 0.3, rng.random(n)
    bounds = np.cumsum(shares)
    return y, (y ^ (u < bounds[0]) ^ (u > 0.92), y ^ ((u > bounds[0]) & (u < bounds[1])) ^ (u > 0.92))


def test_a_bootstrap_gives_the_error_that_repeated_samples_have():
    rng = np.random.default_rng(9)
    drawn = [errors(rng, 600, (0.05, 0.05)) for _ in range(150)]
    differences = [np.subtract(*f1_of(y, a)(np.arange(600), np.zeros(600, bool))) for y, a in drawn]
    found = [resampled(f1_of(y, a), y, a[0] != a[1]) for y, a in drawn[:8]]
    widths = [(one.high - one.low) / 2 / 1.96 for one in found]
    assert np.mean(widths) == pytest.approx(np.std(differences), rel=0.25)


def test_few_swaps_are_exact():
    y = np.array([1, 0] * 20, dtype=bool)
    twin, champion = y.copy(), y.copy()
    champion[[0, 2, 4, 6]] = False
    found = resampled(f1_of(y, (twin, champion)), y, twin != champion)
    assert (found.p_better, found.p_worse) == (1 / 16, 1.0)
    assert resampled(f1_of(y, (y, y)), y, np.zeros(40, bool)).p_worse == 1.0


def test_a_score_that_is_undefined_is_no_evidence():
    rows, differs = np.zeros(30), np.ones(30, dtype=bool)
    assert resampled(lambda places, swapped: (np.nan, 0.5), rows, differs).p_worse is None
    rare = resampled(lambda places, swapped: (0.5 if len(set(places)) == 30 else np.nan, 0.4), rows, differs)
    assert rare.p_worse is None
    assert resampled(lambda places, swapped: (0.5, 0.5), np.zeros(0), np.zeros(0, bool)).p_worse is None


def equal_areas(rng, n):
    positive = rng.random(n) < 0.22
    common = rng.normal(size=n)
    return delong(positive, *(positive + common + 0.4 * rng.normal(size=(2, n))))


def equal_errors(rng, n):
    common = rng.standard_t(3, n)
    return sign_flips(*np.abs(common + 0.3 * rng.standard_t(3, (2, n))))


@pytest.mark.parametrize("equals", [equal_areas, equal_errors])
@pytest.mark.parametrize("n", [60, 280])
def test_p_is_uniform_if_both_are_equally_good(equals, n):
    rng = np.random.default_rng(10)
    found = [equals(rng, n) for _ in range(1_500)]
    if n == 280:  # of 13 positive samples the tails are conservative
        assert kstest([one.p_worse for one in found], "uniform").pvalue > 0.01
    assert np.mean([one.p_worse < 0.01 for one in found]) <= 0.017
    assert np.mean([one.low <= 0 <= one.high for one in found]) == pytest.approx(0.95, abs=0.018)


@pytest.mark.parametrize("share", [0.006, 0.05])
def test_swaps_keep_a_bootstrap_from_refusing_equals(share):
    rng = np.random.default_rng(11)
    found = []
    for _ in range(60):
        y, answers = errors(rng, 280, (share, share))
        found.append(resampled(f1_of(y, answers), y, answers[0] != answers[1]))
    assert np.mean([one.p_worse < 0.01 for one in found]) <= 0.05
    assert np.mean([one.p_worse < 0.5 for one in found]) <= 0.65
