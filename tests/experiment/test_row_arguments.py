"""Groups, weights and order as they are declared, and splitters that need them."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LassoCV, LogisticRegression, Ridge
from sklearn.model_selection import (
    BaseCrossValidator,
    GridSearchCV,
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    LeaveOneGroupOut,
    LeavePGroupsOut,
    PredefinedSplit,
    RepeatedKFold,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.pipeline import make_pipeline

from diurnal import experiment
from diurnal.errors import ExperimentError
from diurnal.pipeline.check import check_experiment


def rows(interval):
    """Stand for a source; nothing is read."""


def declare(made=None, **declared):
    @experiment(**{"source": rows, "target": "y", **declared})
    def toy():
        return made

    return toy


class OneFold(BaseCrossValidator):
    def _iter_test_indices(self, X=None, y=None, groups=None):
        yield np.arange(5)

    def get_n_splits(self, X=None, y=None, groups=None):
        return 1


class PurgedWalk(OneFold):
    """As other libraries have them: the name says that it goes by order."""


class BlockKFold(OneFold):
    """Blocks of a map, and not of a series."""


class WithGap(OneFold):
    """What it is set by says so."""

    def __init__(self, gap_size=2):
        self.gap_size = gap_size


class Wrapped(OneFold):
    """Made of another splitter."""

    def __init__(self, inner):
        self.inner = inner


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"groups": 3}, "groups=3 .* is not allowed"),
        ({"groups": ("a", "b")}, "the name of a column"),
        ({"groups": "y"}, "the target 'y' is also the column of groups"),
        ({"sample_weight": "y"}, "the target 'y' is also the column of sample_weight"),
        ({"order_by": "y"}, "the target 'y' is also the column of order_by"),
        ({"split": "tiem"}, "one of 'hash', 'time'; did you mean 'time'"),
        ({"split": None}, "one of 'hash', 'time'"),
        ({"split": "time"}, "window=1 has one interval"),
        ({"split": "time", "window": "24h"}, "window='24h' has one interval"),
        ({"split": "time", "window": "36h", "schedule": timedelta(hours=20)}, "window='36h' has one interval"),
        ({"split": "time", "window": 7, "groups": "g"}, "decides the role of a row by its interval"),
        ({"split": "time", "window": 7, "test_size": 0.2}, "test_size=0.2 has no meaning"),
        ({"group": "g"}, "did you mean 'groups'"),
    ],
)
def test_what_contradicts_is_refused_when_it_is_written(declared, said):
    with pytest.raises(ExperimentError, match=said):
        declare(**declared)


@pytest.mark.parametrize(
    "declared",
    [
        {"key": ("patient", "visit"), "groups": "patient"},
        {"key": ("shop", "at"), "order_by": "at", "groups": "shop"},
        {"drop": ("at", "w"), "order_by": "at", "sample_weight": "w"},
        {"groups": "year", "order_by": "year"},
        {"split": "time", "window": "all"},
        {"split": "time", "window": "2d"},
        {"split": "time", "window": "2h", "schedule": "@hourly"},
        {"split": "time", "window": "36h", "schedule": "0 */12 * * *"},
    ],
)
def test_what_goes_together_is_taken(declared):
    made = declare(Ridge(), **declared)
    assert {name: getattr(made, name) for name in declared} == declared
    assert made.build()


def test_only_what_is_declared_enters_the_digest():
    def digest(**declared):
        return declare(Ridge(), window=7, **declared).code_digest

    plain = digest()
    assert plain == digest(groups=None, sample_weight=None, order_by=None, split="hash")
    others = [digest(groups="g"), digest(sample_weight="g"), digest(order_by="g"), digest(split="time")]
    assert len({plain, *others}) == 5


@pytest.mark.parametrize(
    "made",
    [
        GridSearchCV(Ridge(), {}, cv=TimeSeriesSplit(3)),
        GridSearchCV(Ridge(), {}, cv=PurgedWalk()),
        GridSearchCV(Ridge(), {}, cv=WithGap()),
        GridSearchCV(Ridge(), {}, cv=Wrapped(TimeSeriesSplit())),
        GridSearchCV(Ridge(), {}, cv=PredefinedSplit([0, 0, 1, 1])),
        GridSearchCV(Ridge(), {}, cv=[(np.arange(5), np.arange(5, 9))]),
        GridSearchCV(Ridge(), {}, cv=iter([(np.arange(5), np.arange(5, 9))])),
        LassoCV(cv=TimeSeriesSplit(3)),
        GridSearchCV(make_pipeline(CalibratedClassifierCV(LogisticRegression(), cv=TimeSeriesSplit(3))), {}),
    ],
    ids=lambda made: type(made).__name__ + str(getattr(made, "cv", ""))[:20],
)
def test_a_split_by_order_is_refused_without_order_by_and_built_with_it(made):
    for refusing in (declare(made).build, lambda: check_experiment(declare(made), {})):
        with pytest.raises(
            ExperimentError, match="splits by the order of rows, and the experiment declares no order_by"
        ) as caught:
            refusing()
        assert 'order_by="..."' in caught.value.hint
    assert declare(made, order_by="at").build() is made


def test_requests_of_metadata_need_no_setting():
    @experiment(source=rows, target="y", sample_weight="w")
    def weighted():
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression().set_fit_request(sample_weight=True)

    assert weighted.build()._get_metadata_request().fit.requests == {"sample_weight": True}


@pytest.mark.parametrize(
    "splitter",
    [
        KFold(3),
        StratifiedKFold(),
        ShuffleSplit(),
        RepeatedKFold(),
        RepeatedStratifiedKFold(),
        KFold(3, shuffle=True),
        BlockKFold(),
        5,
    ],
    ids=str,
)
def test_other_splits_need_nothing(splitter):
    assert declare(GridSearchCV(Ridge(), {}, cv=splitter)).build().cv is splitter


@pytest.mark.parametrize(
    "splitter",
    [GroupKFold(3), StratifiedGroupKFold(3), LeaveOneGroupOut(), LeavePGroupsOut(2), GroupShuffleSplit(random_state=0)],
    ids=lambda splitter: type(splitter).__name__,
)
def test_a_split_by_groups_is_refused_without_groups_and_built_with_them(splitter):
    made = GridSearchCV(LogisticRegression(), {}, cv=splitter)
    with pytest.raises(ExperimentError, match="splits by groups") as caught:
        declare(made).build()
    assert 'groups="..."' in caught.value.hint
    assert declare(made, groups="patient").build() is made


def test_blocks_of_rows_over_time_need_an_order():
    made = GridSearchCV(Ridge(), {}, cv=KFold(3))
    with pytest.raises(ExperimentError, match="makes blocks of consecutive rows"):
        declare(made, split="time", window=7).build()
    assert declare(made, split="time", window=7, order_by="at").build() is made
    shuffled = GridSearchCV(Ridge(), {}, cv=KFold(3, shuffle=True, random_state=0))
    assert declare(shuffled, split="time", window=7).build() is shuffled
