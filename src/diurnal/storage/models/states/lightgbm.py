"""Boosters of LightGBM, as the text model that LightGBM documents.

Unpickling a booster passes the file's text to a parser in C++ that trusts the sizes in the text, and traverses trees
without a check of their indices. Here Python reads the text and checks every index. LightGBM then reads a text that is
written from the checked values, including sizes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import lightgbm
import numpy as np

from diurnal.storage.models.states import State
from diurnal.storage.models.states.state_checks import check_fields, check_range, check_that

_NUMBER = r"[+-]?(\d{1,25}(\.\d{1,25})?([eE][+-]?\d{1,4})?|inf|nan)"
_NUMBERS = re.compile(rf" *({_NUMBER}( +{_NUMBER})*)? *")
_NAME = re.compile(r"[^\s=\[\]]+")
_OBJECTIVE = re.compile(r"[a-z_0-9]{1,40}( [a-z_]{1,40}(:[0-9.e+-]{1,30})?){0,4}")
_HEADER_KEYS = frozenset((
    "version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective", "average_output",
    "feature_names", "monotone_constraints", "feature_infos", "tree_sizes",
))  # fmt: skip
_MAX_DEPTH = 10_000  # LightGBM traverses it by recursion once
# From the name of a list in a tree to its length: of leaves (0), or of splits (1).
_LISTS = {
    "decision_type": 1, "internal_count": 1, "internal_value": 1, "internal_weight": 1, "leaf_const": 0,
    "leaf_count": 0, "leaf_value": 0, "leaf_weight": 0, "left_child": 1, "num_features": 0, "right_child": 1,
    "split_feature": 1, "split_gain": 1, "threshold": 1,
}  # fmt: skip
_SCALARS = frozenset(("Tree", "is_linear", "num_cat", "num_leaves", "shrinkage"))
_FREE_LISTS = frozenset(("cat_boundaries", "cat_threshold", "leaf_coeff", "leaf_features"))
_SPLIT_LISTS = ("decision_type", "left_child", "right_child", "split_feature", "threshold")


def _booster_to_state(booster: lightgbm.Booster) -> dict[str, Any]:
    text = booster.model_to_string(num_iteration=-1)
    header, trees = _parse_model(text)
    categories = booster.pandas_categorical
    return {
        "text": _format_model(header, trees).encode(),
        "best_iteration": int(booster.best_iteration),
        "categories": None if categories is None else [list(values) for values in categories],
    }


def _booster_from_state(state: Any) -> lightgbm.Booster:
    content = check_fields(state, ("text", "best_iteration", "categories"), "LightGBM booster")
    check_that(isinstance(content["text"], bytes), "a LightGBM booster has no text")
    check_that(type(content["best_iteration"]) is int, "a LightGBM booster has no best iteration")
    _check_categories(content["categories"])
    header, trees = _parse_model(content["text"].decode())
    _check_header(header, trees)
    for tree in trees:
        _check_tree(tree, int(header["max_feature_idx"]) + 1)
    booster = lightgbm.Booster(model_str=_format_model(header, trees))
    booster.best_iteration = content["best_iteration"]
    booster.pandas_categorical = content["categories"]
    return booster


def _parse_model(text: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return the header and the trees; the importances and training parameters that follow are not used."""
    body, end, _ = text.partition("\nend of trees\n")
    check_that(end, "a LightGBM text has no end")
    first, *blocks = re.split(r"\n(?=Tree=)", body)
    lines = [line for line in first.split("\n") if line]
    check_that(lines[:1] == ["tree"], "a LightGBM text does not begin with 'tree'")
    return _parse_pairs(lines[1:]), [_parse_pairs([line for line in block.split("\n") if line]) for block in blocks]


def _parse_pairs(lines: list[str]) -> dict[str, str]:
    pairs = [line.partition("=")[::2] for line in lines]
    check_that(len({key for key, _ in pairs}) == len(pairs), "a LightGBM text has a field twice")
    return dict(pairs)


def _format_model(header: Mapping[str, str], trees: list[dict[str, str]]) -> str:
    """Return the text of a model, with the sizes of its trees."""
    blocks = ["".join(f"{key}={value}\n" for key, value in tree.items()) + "\n\n" for tree in trees]
    sizes = {"tree_sizes": " ".join(str(len(block.encode())) for block in blocks)}
    lines = [key if key == "average_output" else f"{key}={value}" for key, value in {**header, **sizes}.items()]
    head = "\n".join(["tree", *lines])
    return f"{head}\n\n{''.join(blocks)}end of trees\n\nfeature_importances:\n\nparameters:\n\nend of parameters\n"


def _check_categories(categories: Any) -> None:
    check_that(categories is None or isinstance(categories, list), "LightGBM categories are not a list")
    for values in categories or []:
        plain = isinstance(values, list) and all(isinstance(value, str | int | float | bool) for value in values)
        check_that(plain, "LightGBM categories are not strings or numbers")


def _check_header(header: Mapping[str, str], trees: list[dict[str, str]]) -> None:
    unknown = sorted(set(header) - _HEADER_KEYS)
    check_that(not unknown, f"a LightGBM text has unknown fields: {unknown}")
    check_that(header.get("version") == "v4", "a LightGBM text is of another version than v4")
    n_classes, n_trees = _parse_size(header["num_class"]), _parse_size(header["num_tree_per_iteration"])
    n_features = _parse_size(header["max_feature_idx"]) + 1
    check_that(
        n_classes == n_trees and n_trees and not len(trees) % n_trees,
        "the number of trees is wrong",
    )
    for key in ("feature_names", "feature_infos"):
        names = header[key].split(" ")
        valid = all(_NAME.fullmatch(name.strip("[]")) for name in names)
        check_that(len(names) == n_features and valid, f"{key} are invalid")
    _parse_size(header.get("label_index", "0"))
    _parse_numbers(header.get("monotone_constraints", ""), "constraints")
    objective = header.get("objective")
    if objective is None:
        return
    check_that(_OBJECTIVE.fullmatch(objective), "a LightGBM objective is invalid")
    match = re.search(r"num_class:(\d{1,7})", objective)
    classes = int(match[1]) if match else 1
    check_that(classes == n_classes, "a LightGBM objective is for other classes than its trees")


def _parse_size(text: str) -> int:
    check_that(re.fullmatch(r"\d{1,7}", text), "a LightGBM size is not a number")
    return int(text)


def _parse_numbers(text: str, subject: str) -> np.ndarray:
    check_that(_NUMBERS.fullmatch(text), f"{subject} of LightGBM are not numbers")
    return np.array(text.split(), dtype=np.float64)


def _parse_integers(tree: Mapping[str, str], key: str) -> np.ndarray:
    values = _parse_numbers(tree.get(key, ""), key)
    check_that(np.all(values == np.floor(values)) and np.all(np.abs(values) < 2**32), f"{key} are not integers")
    return values.astype(np.int64)


def _check_tree(tree: Mapping[str, str], n_features: int) -> None:
    check_that(set(tree) <= {*_LISTS, *_SCALARS, *_FREE_LISTS}, "a LightGBM tree has unknown fields")
    n_leaves = _parse_size(tree["num_leaves"])
    check_that(n_leaves, "a LightGBM tree has no leaf")
    for key in _SCALARS & set(tree):
        check_that(len(_parse_numbers(tree[key], key)) == 1, f"a LightGBM tree does not have one {key}")
    for key in set(_LISTS) & set(tree):
        length = len(_parse_numbers(tree[key], key))
        check_that(length in {n_leaves - _LISTS[key], 0 if n_leaves == 1 else -1}, f"{key} of LightGBM are too few")
    check_that("leaf_value" in tree, "a LightGBM tree has no values")
    if n_leaves > 1:
        check_that(all(key in tree for key in _SPLIT_LISTS), "a LightGBM tree has no splits")
        _check_splits(tree, n_leaves, n_features)
    _check_linear_leaves(tree, n_leaves, n_features)


def _check_splits(tree: Mapping[str, str], n_leaves: int, n_features: int) -> None:
    left, right, decision = (_parse_integers(tree, key) for key in ("left_child", "right_child", "decision_type"))
    index = np.arange(n_leaves - 1)
    children = np.concatenate([left, right])
    # Leaves are -1, -2, ... In a tree, each split but the root, and each leaf, is the child of exactly one split. Three
    # leaves have two splits, whose four children are 1, -1, -2 and -3. A child after its parent excludes cycles.
    expected = np.concatenate([index[1:], -1 - np.arange(n_leaves)])
    check_that(np.array_equal(np.sort(children), np.sort(expected)), "a LightGBM tree has a node with other parents")
    inner = children >= 0
    check_that(np.all(children[inner] > np.concatenate([index, index])[inner]), "a child is before its parent")
    _check_depth(left, right)
    check_range(_parse_integers(tree, "split_feature"), 0, n_features, "features to split on")
    check_range(decision, 0, 16, "types of splits")
    sets, bounds, bits = (
        _parse_size(tree["num_cat"]),
        _parse_integers(tree, "cat_boundaries"),
        _parse_integers(tree, "cat_threshold"),
    )
    check_that(len(bounds) == (sets + 1 if sets else 0), "sets of categories have another number than declared")
    check_that(not sets or (bounds[0] == 0 and bounds[-1] == len(bits)), "sets of categories have another size")
    check_that(np.all(np.diff(bounds) > 0) and np.all(bits >= 0), "sets of categories overlap")
    by_category = _parse_numbers(tree["threshold"], "thresholds")[(decision & 1) == 1]  # bit 0: a split by categories
    check_range(by_category, 0, max(sets, 0), "sets of categories")


def _check_depth(left: np.ndarray, right: np.ndarray) -> None:
    depth = np.zeros(len(left), dtype=np.int64)
    for i in range(len(left)):
        for child in (left[i], right[i]):
            if child >= 0:
                depth[child] = depth[i] + 1
    check_that(int(depth.max()) < _MAX_DEPTH, f"a LightGBM tree is deeper than {_MAX_DEPTH}")


def _check_linear_leaves(tree: Mapping[str, str], n_leaves: int, n_features: int) -> None:
    """Check the linear models in leaves: the number of features of each, and their indices."""
    if tree.get("is_linear", "0") == "0":
        return
    counts, features = _parse_integers(tree, "num_features"), _parse_integers(tree, "leaf_features")
    check_that(len(counts) in (0, n_leaves) and np.all(counts >= 0), "linear leaves have invalid counts")
    check_that(
        len(counts) == 0 or int(counts.sum()) == len(features),
        "linear leaves have other features",
    )
    weights = _parse_numbers(tree.get("leaf_coeff", ""), "leaf_coeff")
    check_that(len(weights) == len(features), "linear leaves have missing weights")
    check_range(features, 0, n_features, "features of leaves")


STATES = (State("lightgbm.Booster", (lightgbm.Booster,), _booster_to_state, _booster_from_state),)
