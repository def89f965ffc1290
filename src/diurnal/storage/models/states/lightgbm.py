"""Boosters of LightGBM, as the text model that LightGBM documents.

Unpickling one hands the file's text to a parser in C++ that goes by the sizes which the text itself names, and its
trees are walked without a look at indices. Here the text is read by Python, every index is checked, and what LightGBM
is given is written anew from what was checked, sizes included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import lightgbm
import numpy as np

from diurnal.storage.models.states import State
from diurnal.storage.models.states.state_checks import fields, require, within

_NUMBER = r"[+-]?(\d{1,25}(\.\d{1,25})?([eE][+-]?\d{1,4})?|inf|nan)"
_NUMBERS = re.compile(rf" *({_NUMBER}( +{_NUMBER})*)? *")
_WORD = re.compile(r"[^\s=\[\]]+")
_OBJECTIVE = re.compile(r"[a-z_0-9]{1,40}( [a-z_]{1,40}(:[0-9.e+-]{1,30})?){0,4}")
_HEADER = frozenset((
    "version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective", "average_output",
    "feature_names", "monotone_constraints", "feature_infos", "tree_sizes",
))  # fmt: skip
_DEEPEST = 10_000  # it is walked by recursion, once
# From the name of a list in a tree to its length: of leaves (0), or of splits (1).
_LISTS = {
    "decision_type": 1, "internal_count": 1, "internal_value": 1, "internal_weight": 1, "leaf_const": 0,
    "leaf_count": 0, "leaf_value": 0, "leaf_weight": 0, "left_child": 1, "num_features": 0, "right_child": 1,
    "split_feature": 1, "split_gain": 1, "threshold": 1,
}  # fmt: skip
_SINGLE = frozenset(("Tree", "is_linear", "num_cat", "num_leaves", "shrinkage"))
_FREE = frozenset(("cat_boundaries", "cat_threshold", "leaf_coeff", "leaf_features"))
_NEEDED = ("decision_type", "left_child", "right_child", "split_feature", "threshold")


def _take(booster: lightgbm.Booster) -> dict[str, Any]:
    text = booster.model_to_string(num_iteration=-1)
    header, trees = _read(text)
    categories = booster.pandas_categorical
    return {
        "text": _written(header, trees).encode(),
        "best_iteration": int(booster.best_iteration),
        "categories": None if categories is None else [list(one) for one in categories],
    }


def _make(state: Any) -> lightgbm.Booster:
    given = fields(state, ("text", "best_iteration", "categories"), "booster of LightGBM")
    require(isinstance(given["text"], bytes), "a booster of LightGBM has no text")
    require(type(given["best_iteration"]) is int, "a booster of LightGBM has no best iteration")
    _check_categories(given["categories"])
    header, trees = _read(given["text"].decode())
    _check_header(header, trees)
    for tree in trees:
        _check_tree(tree, int(header["max_feature_idx"]) + 1)
    booster = lightgbm.Booster(model_str=_written(header, trees))
    booster.best_iteration = given["best_iteration"]
    booster.pandas_categorical = given["categories"]
    return booster


def _read(text: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Read the header and the trees; what follows (importances, parameters of the training) is for people."""
    body, found, _ = text.partition("\nend of trees\n")
    require(found, "a text of LightGBM has no end")
    first, *blocks = re.split(r"\n(?=Tree=)", body)
    lines = [line for line in first.split("\n") if line]
    require(lines[:1] == ["tree"], "a text of LightGBM begins otherwise")
    return _pairs(lines[1:]), [_pairs([line for line in block.split("\n") if line]) for block in blocks]


def _pairs(lines: list[str]) -> dict[str, str]:
    pairs = [line.partition("=")[::2] for line in lines]
    require(len({key for key, _ in pairs}) == len(pairs), "a text of LightGBM says something twice")
    return dict(pairs)


def _written(header: Mapping[str, str], trees: list[dict[str, str]]) -> str:
    """Write the text of a model; each tree is as long as it is said to be."""
    blocks = ["".join(f"{key}={value}\n" for key, value in tree.items()) + "\n\n" for tree in trees]
    sizes = {"tree_sizes": " ".join(str(len(block.encode())) for block in blocks)}
    lines = [key if key == "average_output" else f"{key}={value}" for key, value in {**header, **sizes}.items()]
    head = "\n".join(["tree", *lines])
    return f"{head}\n\n{''.join(blocks)}end of trees\n\nfeature_importances:\n\nparameters:\n\nend of parameters\n"


def _check_categories(categories: Any) -> None:
    require(categories is None or isinstance(categories, list), "categories of LightGBM are in no list")
    for one in categories or []:
        plain = isinstance(one, list) and all(isinstance(value, str | int | float | bool) for value in one)
        require(plain, "categories of LightGBM are no texts or numbers")


def _check_header(header: Mapping[str, str], trees: list[dict[str, str]]) -> None:
    require(set(header) <= _HEADER, f"a text of LightGBM says what is not known: {sorted(set(header) - _HEADER)}")
    require(header.get("version") == "v4", "a text of LightGBM is of another version than v4")
    n_classes, n_trees = _count(header["num_class"]), _count(header["num_tree_per_iteration"])
    n_features = _count(header["max_feature_idx"]) + 1
    require(n_classes == n_trees and n_trees and not len(trees) % n_trees, "trees are not as many as classes need")
    for key in ("feature_names", "feature_infos"):
        words = header[key].split(" ")
        require(
            len(words) == n_features and all(map(_WORD.fullmatch, (w.strip("[]") for w in words))), f"{key} are odd"
        )
    _count(header.get("label_index", "0"))
    _numbers(header.get("monotone_constraints", ""), "constraints")
    objective = header.get("objective")
    if objective is None:
        return
    require(_OBJECTIVE.fullmatch(objective), "an objective of LightGBM is odd")
    said = re.search(r"num_class:(\d{1,7})", objective)
    classes = int(said[1]) if said else 1
    require(classes == n_classes, "an objective of LightGBM is for other classes than its trees")


def _count(text: str) -> int:
    require(re.fullmatch(r"\d{1,7}", text), "a size of LightGBM is no number")
    return int(text)


def _numbers(text: str, what: str) -> np.ndarray:
    require(_NUMBERS.fullmatch(text), f"{what} of LightGBM are no numbers")
    return np.array(text.split(), dtype=np.float64)


def _whole(tree: Mapping[str, str], key: str) -> np.ndarray:
    values = _numbers(tree.get(key, ""), key)
    require(np.all(values == np.floor(values)) and np.all(np.abs(values) < 2**32), f"{key} of LightGBM are not whole")
    return values.astype(np.int64)


def _check_tree(tree: Mapping[str, str], n_features: int) -> None:
    require(set(tree) <= {*_LISTS, *_SINGLE, *_FREE}, "a tree of LightGBM says what is not known")
    n_leaves = _count(tree["num_leaves"])
    require(n_leaves, "a tree of LightGBM has no leaf")
    for key in _SINGLE & set(tree):
        require(len(_numbers(tree[key], key)) == 1, f"a tree of LightGBM has not one {key}")
    for key in set(_LISTS) & set(tree):
        length = len(_numbers(tree[key], key))
        require(length in {n_leaves - _LISTS[key], 0 if n_leaves == 1 else -1}, f"{key} of LightGBM are too few")
    require("leaf_value" in tree, "a tree of LightGBM has no values")
    if n_leaves > 1:
        require(all(key in tree for key in _NEEDED), "a tree of LightGBM lacks splits")
        _check_splits(tree, n_leaves, n_features)
    _check_linear(tree, n_leaves, n_features)


def _check_splits(tree: Mapping[str, str], n_leaves: int, n_features: int) -> None:
    left, right, kind = (_whole(tree, key) for key in ("left_child", "right_child", "decision_type"))
    at = np.arange(n_leaves - 1)
    children = np.concatenate([left, right])
    # each split but the first, and each leaf, is the child of one split; a split comes after the one that it is below
    expected = np.concatenate([at[1:], -1 - np.arange(n_leaves)])
    require(np.array_equal(np.sort(children), np.sort(expected)), "a tree of LightGBM has a node with other parents")
    inner = children >= 0
    require(np.all(children[inner] > np.concatenate([at, at])[inner]), "a child of LightGBM comes before its parent")
    _check_depth(left, right)
    within(_whole(tree, "split_feature"), 0, n_features, "features to split on")
    within(kind, 0, 16, "kinds of splits")
    sets, bounds, bits = _count(tree["num_cat"]), _whole(tree, "cat_boundaries"), _whole(tree, "cat_threshold")
    require(len(bounds) == (sets + 1 if sets else 0), "sets of categories are not as many as said")
    require(not sets or (bounds[0] == 0 and bounds[-1] == len(bits)), "sets of categories end elsewhere")
    require(np.all(np.diff(bounds) > 0) and np.all(bits >= 0), "sets of categories overlap")
    by_category = _numbers(tree["threshold"], "thresholds")[(kind & 1) == 1]
    within(by_category, 0, max(sets, 0), "sets of categories")


def _check_depth(left: np.ndarray, right: np.ndarray) -> None:
    depth = np.zeros(len(left), dtype=np.int64)
    for i in range(len(left)):
        for child in (left[i], right[i]):
            if child >= 0:
                depth[child] = depth[i] + 1
    require(int(depth.max()) < _DEEPEST, f"a tree of LightGBM is deeper than {_DEEPEST}")


def _check_linear(tree: Mapping[str, str], n_leaves: int, n_features: int) -> None:
    """Check the linear models in leaves: how many features each has, and which."""
    if tree.get("is_linear", "0") == "0":
        return
    counts, features = _whole(tree, "num_features"), _whole(tree, "leaf_features")
    require(len(counts) in (0, n_leaves) and np.all(counts >= 0), "linear leaves are not counted")
    require(len(counts) == 0 or int(counts.sum()) == len(features), "linear leaves have other features than said")
    require(len(_numbers(tree.get("leaf_coeff", ""), "leaf_coeff")) == len(features), "linear leaves lack weights")
    within(features, 0, n_features, "features of leaves")


STATES = (State("lightgbm.Booster", (lightgbm.Booster,), _take, _make),)
