"""The structure of an estimator that its card has: that of scikit-learn's diagram, in JSON's types, and bounded."""

import json

import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from diurnal.storage.models.estimator_structure import MAX_PARTS, MAX_TEXT, describe_structure


def outline(part) -> tuple:
    return (part.get("name", ""), part["title"], [outline(child) for child in part["parts"]])


def test_parts_are_nested_as_in_the_diagram_of_scikit_learn():
    columns = make_column_transformer((StandardScaler(), ["a", "b"]), (OneHotEncoder(), ["c"]), ("passthrough", ["d"]))
    structure = describe_structure(make_pipeline(columns, LogisticRegression(C=3)))
    assert outline(structure) == (
        "",
        "Pipeline",
        [
            (
                "columntransformer",
                "ColumnTransformer",
                [
                    ("standardscaler", "StandardScaler", []),
                    ("onehotencoder", "OneHotEncoder", []),
                    ("passthrough", "passthrough", []),
                ],
            ),
            ("logisticregression", "LogisticRegression", []),
        ],
    )
    transformer, regression = structure["parts"]
    assert (structure["kind"], transformer["kind"]) == ("serial", "parallel")
    assert [part["details"] for part in transformer["parts"]] == ["a, b", "c", "d"]
    assert regression["params"] == {"C": "3"}, "only parameters that are not the defaults"
    assert structure["params"] == {}, "steps are parts and not parameters"


@pytest.mark.parametrize(
    "estimator",
    [
        StackingClassifier([("one", LogisticRegression()), ("other", make_pipeline(StandardScaler(), Ridge()))]),
        FeatureUnion([("one", StandardScaler()), ("other", "drop")]),
        GridSearchCV(LogisticRegression(), {"C": [1, 2]}),
        make_pipeline(FunctionTransformer(func=lambda X: X), Ridge()),
    ],
)
def test_each_structure_is_json(estimator):
    assert json.loads(json.dumps(describe_structure(estimator))) is not None


def test_a_forest_is_one_part():
    forest = RandomForestClassifier(500).fit([[0], [1]], [0, 1])
    assert describe_structure(forest)["parts"] == []


def test_it_is_bounded():
    structure = describe_structure(FeatureUnion([(f"s{i}", StandardScaler()) for i in range(10 * MAX_PARTS)]))
    assert len(structure["parts"]) < MAX_PARTS
    nested = Ridge()
    for _ in range(200):
        nested = make_pipeline(nested)
    assert describe_structure(nested) is not None
    assert len(describe_structure(Ridge(alpha="x" * 10_000))["params"]["alpha"]) == MAX_TEXT


def test_an_estimator_that_cannot_describe_itself_has_none():
    class Broken(LogisticRegression):
        def get_params(self, deep=True):
            raise RuntimeError

    assert describe_structure(Broken()) is None
