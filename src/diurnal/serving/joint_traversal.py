"""The traversal of all trees of a forest at once, which for a few rows takes less time than a call for each tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_ROWS = 32  # with more, a call for each tree is faster
_MAX_NODES = 2**18  # which are copied
_TREES_OF_LEVEL = 2  # that take as long by a call each as one level of all trees

Traversal = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]]


def join_trees(trees: Sequence[Any]) -> Traversal | None:
    """Return a function that adds the values of the leaves of trees, in the order of the trees.

    Parameters
    ----------
    trees : sequence of sklearn.tree._tree.Tree
        The trees, with one output.

    Returns
    -------
    callable or None
        It takes finite rows of shape (n_rows, n_features), and returns the sums of shape (n_rows, n_values). None if
        there are too few trees, or too large ones.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> tree = DecisionTreeRegressor().fit([[0.0], [1.0]], [2.0, 3.0]).tree_
    >>> join_trees([tree] * 3)(np.array([[0.0], [7.0]], dtype=np.float32))
    array([[6.],
           [9.]])
    """
    depth = max(tree.max_depth for tree in trees)
    counts = [tree.node_count for tree in trees]
    if len(trees) <= _TREES_OF_LEVEL * depth or sum(counts) > _MAX_NODES:
        return None
    roots = np.cumsum([0, *counts[:-1]])
    features = np.concatenate([np.maximum(tree.feature, 0) for tree in trees])
    thresholds = np.concatenate([tree.threshold for tree in trees])
    values = np.concatenate([tree.value[:, 0] for tree in trees])
    children = np.concatenate([_children_of(tree, root) for tree, root in zip(trees, roots, strict=True)]).reshape(-1)

    def add_leaves(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        cells, starts = rows.reshape(-1), np.arange(0, rows.size, rows.shape[1])
        nodes = np.repeat(roots[:, None], len(rows), axis=1)
        for _ in range(depth):
            is_right = cells.take(starts + features.take(nodes)) > thresholds.take(nodes)
            nodes = children.take(2 * nodes + is_right)
        sums: npt.NDArray[np.float64] = np.add.accumulate(values.take(nodes, axis=0), axis=0)[-1]
        return sums

    return add_leaves


def _children_of(tree: Any, root: int) -> npt.NDArray[np.intp]:
    """Return the left and the right child of each node; of a leaf, itself."""
    children = np.stack([tree.children_left, tree.children_right], axis=1)
    own = np.arange(tree.node_count)[:, None]
    return root + np.where(children < 0, own, children)
