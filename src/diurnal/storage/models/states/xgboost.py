"""Boosters of XGBoost, as the JSON model that XGBoost documents.

Unpickling a booster passes the file's bytes to a parser in C++, which traverses trees without a check of their indices.
Here Python reads the model and checks every index. XGBoost then reads a model that is written from the checked values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xgboost

from diurnal.storage.models.states import State
from diurnal.storage.models.states.state_checks import (
    check_child_order,
    check_fields,
    check_integers,
    check_numbers,
    check_range,
    check_that,
)

_TREE_FIELDS = frozenset((
    "base_weights", "categories", "categories_nodes", "categories_segments", "categories_sizes", "default_left", "id",
    "left_children", "loss_changes", "parents", "right_children", "split_conditions", "split_indices", "split_type",
    "sum_hessian", "tree_param",
))  # fmt: skip
_LEARNER_FIELDS = frozenset((
    "attributes", "feature_names", "feature_types", "gradient_booster", "learner_model_param", "objective",
))  # fmt: skip
_OBJECTIVE = re.compile(r"(reg|binary|multi|count|survival):[a-z0-9_]{1,40}")
_MAX_CATEGORIES = 2**24  # beyond, floats of 32 bits do not distinguish integers
_NO_PARENT = 2**31 - 1


def _booster_to_state(booster: xgboost.Booster) -> dict[str, bytes]:
    return {"json": _to_compact_json(json.loads(booster.save_raw("json")))}


def _booster_from_state(state: Any) -> xgboost.Booster:
    content = check_fields(state, ("json",), "XGBoost booster")
    check_that(isinstance(content["json"], bytes), "an XGBoost booster has no model")
    document = json.loads(content["json"])
    _check_document(document)
    booster = xgboost.Booster()
    booster.load_model(bytearray(_to_compact_json(document)))
    return booster


def _to_compact_json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def _check_document(document: Any) -> None:
    check_fields(document, ("learner", "version"), "XGBoost model")
    check_integers(document["version"], "XGBoost versions", length=3)
    learner = check_fields(document["learner"], _LEARNER_FIELDS, "XGBoost learner")
    sizes = {
        name: _parse_size(value) for name, value in learner["learner_model_param"].items() if name.startswith("num_")
    }
    check_that({"num_class", "num_feature", "num_target"} <= set(sizes), "an XGBoost learner has no sizes")
    n_features, n_outputs = sizes["num_feature"], max(1, sizes["num_class"], sizes["num_target"])
    _check_base_score(learner["learner_model_param"], n_outputs)
    _check_names(learner, n_features)
    _check_objective(learner["objective"], sizes)
    booster = learner["gradient_booster"]
    if booster.get("name") == "gblinear":
        model = check_fields(booster["model"], ("boosted_rounds", "weights"), "linear model of XGBoost")
        check_numbers(model["weights"], "XGBoost weights", length=(n_features + 1) * n_outputs)
        check_integers([model["boosted_rounds"]], "XGBoost rounds")
        return
    if booster.get("name") == "dart":
        check_fields(booster, ("gbtree", "name", "weight_drop"), "XGBoost booster")
        booster, weights = booster["gbtree"], booster["weight_drop"]
        check_numbers(weights, "weights of trees", length=len(booster["model"]["trees"]))
    check_fields(booster, ("model", "name"), "XGBoost booster")
    check_that(booster["name"] == "gbtree", "an XGBoost booster is of an unknown type")
    _check_trees(booster["model"], n_features, n_outputs)


def _parse_size(text: Any) -> int:
    check_that(isinstance(text, str) and re.fullmatch(r"[0-9]{1,7}", text), "an XGBoost size is not a number")
    return int(text)


def _check_base_score(params: Mapping[str, Any], n_outputs: int) -> None:
    known = {"base_score", "boost_from_average", "num_class", "num_feature", "num_target"}
    check_that(set(params) <= known, "an XGBoost learner has unknown parameters")
    start = json.loads(params["base_score"])
    check_numbers(start if isinstance(start, list) else [start], "base scores")
    check_that(not isinstance(start, list) or len(start) in (1, n_outputs), "base scores are not one for each output")
    _parse_size(params.get("boost_from_average", "1"))


def _check_names(learner: Mapping[str, Any], n_features: int) -> None:
    for key in ("feature_names", "feature_types"):
        names = learner[key]
        check_that(isinstance(names, list) and all(isinstance(name, str) for name in names), f"{key} are not strings")
        check_that(len(names) in (0, n_features), f"{key} are not those of {n_features} features")
    texts = [*learner["attributes"].keys(), *learner["attributes"].values()]
    check_that(all(isinstance(text, str) for text in texts), "XGBoost attributes are not strings")


def _check_objective(objective: Any, sizes: Mapping[str, int]) -> None:
    check_that(isinstance(objective, dict), "an XGBoost model has no objective")
    name = objective.get("name")
    check_that(isinstance(name, str) and _OBJECTIVE.fullmatch(name), f"the objective {name!r} is not supported")
    for key, params in objective.items():
        if key == "name":
            continue
        check_that(isinstance(params, dict), "an XGBoost objective has no parameters")
        check_that(all(isinstance(value, str) for value in params.values()), "XGBoost parameters are not strings")
        n_classes = _parse_size(params.get("num_class", str(sizes["num_class"])))
        check_that(n_classes == sizes["num_class"], "an XGBoost objective is for other classes than its model")
        for alpha in (params[name] for name in params if name.endswith("_alpha") and params[name].startswith("[")):
            check_numbers(json.loads(alpha), "quantiles", length=max(1, sizes["num_target"]))


def _check_trees(model: Any, n_features: int, n_outputs: int) -> None:
    expected = {"gbtree_model_param", "iteration_indptr", "tree_info", "trees"}
    check_that(set(model) - {"cats", "weight_drop"} == expected, "XGBoost trees have unknown fields")
    trees, params = model["trees"], model["gbtree_model_param"]
    n = len(trees)
    check_that(set(params) == {"num_parallel_tree", "num_trees"}, "XGBoost trees have unknown parameters")
    check_that(_parse_size(params["num_trees"]) == n, "XGBoost trees are not as many as declared")
    _parse_size(params["num_parallel_tree"])
    check_range(check_integers(model["tree_info"], "outputs of trees", length=n), 0, n_outputs, "outputs of trees")
    if "weight_drop" in model:  # XGBoost 3.4 and later; older ones have it beside the trees
        check_numbers(model["weight_drop"], "weights of trees", length=n)
    steps = check_integers(model["iteration_indptr"], "iterations")
    check_that(len(steps) and steps[0] == 0 and steps[-1] == n and np.all(np.diff(steps) >= 0), "iterations decrease")
    for i, tree in enumerate(trees):
        _check_tree(check_fields(tree, _TREE_FIELDS, "XGBoost tree"), n_features)
        check_that(type(tree["id"]) is int and tree["id"] == i, "XGBoost trees are out of order")
    if "cats" in model:
        _check_category_lists(model["cats"], n_features)


def _check_tree(tree: Mapping[str, Any], n_features: int) -> None:
    params = check_fields(tree["tree_param"], ("num_deleted", "num_feature", "num_nodes", "size_leaf_vector"), "tree")
    n = _parse_size(params["num_nodes"])
    check_that(n and _parse_size(params["num_feature"]) == n_features, "an XGBoost tree is of other features")
    check_that(_parse_size(params["size_leaf_vector"]) <= 1, "trees of several outputs are not supported")
    _parse_size(params["num_deleted"])
    for key in ("base_weights", "loss_changes", "split_conditions", "sum_hessian"):
        check_numbers(tree[key], key, length=n)
    left, right = (check_integers(tree[key], key, length=n) for key in ("left_children", "right_children"))
    inner = left != -1
    check_that(np.all(right[~inner] == -1), "an XGBoost leaf has a child")
    for children in (left, right):
        check_range(children[inner], 0, n, "children")
        check_child_order(children, inner, "an XGBoost tree")
    index = np.flatnonzero(inner)
    parents = check_integers(tree["parents"], "parents", length=n)
    for children in (left, right):
        check_that(np.all(parents[children[index]] == index), "children have other parents")
    check_that(parents[0] in (_NO_PARENT, -1), "a root has a parent")
    features = check_integers(tree["split_indices"], "split_indices", length=n)
    check_range(features[inner], 0, n_features, "features to split on")
    for key in ("default_left", "split_type"):
        check_range(check_integers(tree[key], key, length=n), 0, 2, key)
    _check_split_categories(tree, np.flatnonzero(inner & (np.array(tree["split_type"]) == 1)))


def _check_split_categories(tree: Mapping[str, Any], by_category: np.ndarray) -> None:
    """Check the categories by which nodes split: a segment of one list for each such node.

    With the sizes ``[2, 3]``, the first such node has the categories 0 and 1 of the list, and the second has 2 to 4.
    """
    nodes, starts, sizes = (check_integers(tree[f"categories_{key}"], key) for key in ("nodes", "segments", "sizes"))
    values = check_integers(tree["categories"], "categories")
    check_that(np.array_equal(nodes, by_category), "sets of categories are of other nodes than split by them")
    check_that(len(starts) == len(sizes) == len(nodes), "sets of categories are not one for each node")
    check_that(np.all(sizes > 0) and np.array_equal(starts, np.cumsum(sizes) - sizes), "sets of categories overlap")
    check_that(int(sizes.sum()) == len(values), "sets of categories do not have the declared size")
    check_range(values, 0, _MAX_CATEGORIES, "categories")


def _check_category_lists(cats: Any, n_features: int) -> None:
    """Check the categories of the training data, by which the categories of other rows are encoded."""
    content = check_fields(cats, ("enc", "feature_segments", "sorted_idx"), "list of categories")
    segments, order = (
        check_integers(content["feature_segments"], "segments"),
        check_integers(content["sorted_idx"], "orders"),
    )
    check_that(isinstance(content["enc"], list), "categories are not a list")
    if not content["enc"]:
        check_that(not len(segments) and not len(order), "categories are of no feature")
        return
    counts = [_count_categories(categories) for categories in content["enc"]]
    check_that(len(counts) == n_features, "categories are of other features")
    check_that(np.array_equal(segments, np.cumsum([0, *counts])), "categories of features overlap")
    check_that(len(order) == sum(counts), "an order of categories is incomplete")
    for start, count in zip(segments[:-1], counts, strict=True):
        segment = order[start : start + count]
        check_that(np.array_equal(np.sort(segment), np.arange(count)), "an order of categories contains some twice")


def _count_categories(categories: Any) -> int:
    if set(categories) == {"offsets", "values"}:
        offsets, texts = (
            check_integers(categories["offsets"], "offsets"),
            check_integers(categories["values"], "letters"),
        )
        check_range(texts, -128, 256, "letters")
        if not len(offsets):
            check_that(not len(texts), "texts of categories have no ends")
            return 0
        check_that(offsets[0] == 0 and offsets[-1] == len(texts), "texts of categories do not have the declared size")
        check_that(np.all(np.diff(offsets) >= 0), "texts of categories overlap")
        return len(offsets) - 1
    check_fields(categories, ("type", "values"), "category list")
    valid = type(categories["type"]) is int and isinstance(categories["values"], Sequence)
    check_that(valid, "categories are of an unknown type")
    check_numbers(categories["values"], "categories")
    return len(categories["values"])


STATES = (State("xgboost.Booster", (xgboost.Booster,), _booster_to_state, _booster_from_state),)
