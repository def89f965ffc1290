"""Depth-first traversal of the tree of a search on one fold.

Each node is fitted once, and its matrices are freed when its subtree is done. For this tree

    root
    ├── scale                       1. fit scale, transform train and test rows
    │   ├── svc(C=1)  svc(C=10)     2. fit and score each final estimator on the transformed rows
    │   ├── pca(2)                  3. one complete PCA serves both sizes
    │   │   └── logistic(C=1)       4. one batched minimization serves these two,
    │   └── pca(5)                     on the matrix of pca(5); pca(2) is its first 2 columns
    │       └── logistic(C=1)
    └── minmax                      5. the matrices of scale are freed; fit minmax
        └── svc(C=1)                6. fit and score

the order is 1 to 6. A candidate has a result as soon as it is scored, and later steps skip it. So a step that fails, or
is not exact, raises no error: families of fits are tried first and single fits afterwards, and scikit-learn fits the
candidates that have no result at the end.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from diurnal.search.column_branches import SharedBranches
from diurnal.search.families import FINAL_FAMILIES, LABEL_FAMILIES, TRANSFORMER_FAMILIES
from diurnal.search.families.family_protocol import FinalEstimatorFamily, FittedSizes, TransformerFamily
from diurnal.search.family_scores import GroupedCandidate, score_family
from diurnal.search.fold import FoldRunner, TransformedFold, read_only_view
from diurnal.search.tree import FinalEstimator, PipelineStep, PrefixNode

# Candidates that are fitted on one matrix together; with more, the product of matrices gains nothing.
PART_SIZE = 48


def has_families(node: PrefixNode) -> bool:
    """Return whether a family has two members or more anywhere below a node."""
    transformers = group_by_family([child.step for child in node.children.values()], TRANSFORMER_FAMILIES)
    finals = group_by_family([leaf.step for leaf in node.finals.values()], FINAL_FAMILIES)
    return bool(transformers or finals) or any(map(has_families, node.children.values()))


def group_by_family(steps: Sequence[PipelineStep], families: Iterable[Any]) -> list[tuple[Any, list[int]]]:
    """Group pipeline steps that a family fits together.

    Returns
    -------
    list of (family, positions)
        One entry for each family and group key with at least two members; the positions are those in `steps`.
    """
    groups: dict[Hashable, tuple[Any, list[int]]] = {}
    for i, step in enumerate(steps):
        for family in families:
            key = family.group_key(step)
            if key is not None:  # a step belongs to the first family that has a key for it
                groups.setdefault((id(family), key), (family, []))[1].append(i)
                break
    return [(family, positions) for family, positions in groups.values() if len(positions) > 1]


def fit_and_score_subtree(fold: FoldRunner, node: PrefixNode, data: TransformedFold) -> None:
    """Fit and score everything below a node that has no result yet.

    Parameters
    ----------
    fold : FoldRunner
    node : PrefixNode
    data : TransformedFold
        The data behind the transformer of the node.
    """
    _fit_finals(fold, node, data)
    children = list(node.children.values())
    _fit_transformer_families(fold, children, data)
    # What no family has fitted is fitted transformer by transformer. Siblings still share equal branches.
    pending = [child for child in children if any(_is_pending(fold, leaf) for leaf in child.all_finals())]
    branches = SharedBranches([child.step for child in children], fold.monitor)
    if len(pending) == 1:  # a chain: the matrices of this node are freed before those below the next one are made
        with fold.suppress_failures(_pending_candidates(fold, pending[0])):
            behind = [fold.fit_transform_step(pending[0].step, data, branches)]
            del data
            fit_and_score_subtree(fold, pending[0], behind.pop())
        return

    def fit_child(child: PrefixNode) -> None:
        with fold.suppress_failures(_pending_candidates(fold, child)):
            fit_and_score_subtree(fold, child, fold.fit_transform_step(child.step, data, branches))

    if branches:  # siblings use the fits of each other: one after the other
        for child in pending:
            fit_child(child)
    else:
        fold.map_tasks(fit_child, pending)


def _fit_finals(fold: FoldRunner, node: PrefixNode, data: TransformedFold) -> None:
    """Fit and score the final estimators of a node: families first, then what they leave."""

    def fit_single(leaf: FinalEstimator) -> None:
        with fold.suppress_failures(leaf.candidates):
            final, seconds = fold.fit_final(leaf.step, data)
            fold.score_final(leaf, final, data, seconds)

    def fit_family(group: tuple[FinalEstimatorFamily, list[FinalEstimator]]) -> None:
        family, members = group
        fit_final_family(fold, family, [GroupedCandidate(leaf, data) for leaf in members])

    leaves = [leaf for leaf in node.finals.values() if _is_pending(fold, leaf)]
    for families in (LABEL_FAMILIES, FINAL_FAMILIES):
        fold.map_tasks(fit_family, _pending_groups(fold, leaves, families))
    fold.map_tasks(fit_single, [leaf for leaf in leaves if _is_pending(fold, leaf)])


def _pending_groups(
    fold: FoldRunner, leaves: Sequence[FinalEstimator], families: Sequence[FinalEstimatorFamily]
) -> list[tuple[FinalEstimatorFamily, list[FinalEstimator]]]:
    """Group final estimators by family, and return those without a result.

    Families of labels have members only where scores are of labels only.
    """
    groups = []
    for family, positions in group_by_family([leaf.step for leaf in leaves], families):
        members = [leaves[i] for i in positions if _is_pending(fold, leaves[i])]
        if members and (families is not LABEL_FAMILIES or fold.scores_labels(members[0].step.template)):
            groups.append((family, members))
    return groups


def _fit_transformer_families(fold: FoldRunner, children: Sequence[PrefixNode], data: TransformedFold) -> None:
    """Fit sibling transformers of one family together, and everything below them."""
    shape = getattr(data.X_fit, "shape", ())
    if len(shape) != 2:  # a list of texts, for example
        return
    for family, positions in group_by_family([child.step for child in children], TRANSFORMER_FAMILIES):
        supported = [children[i] for i in positions if family.supports(children[i].step, shape)]
        if len(supported) > 1:
            fit_transformer_family(fold, family, supported, data)


def fit_transformer_family(
    fold: FoldRunner, family: TransformerFamily, nodes: list[PrefixNode], data: TransformedFold
) -> None:
    """Fit siblings of one family together and continue below each; if that fails, they keep no result."""
    with fold.suppress_failures(_candidates_of(leaf for node in nodes for leaf in node.all_finals())):
        start = time.perf_counter()
        steps, fit_params = [node.step for node in nodes], fold.fit_params.for_transformer(nodes[0].step)
        sizes = family.fit(steps, read_only_view(steps[0], data.X_fit), fold.y_train, fit_params)
        fold.monitor.check_rng()
        seconds = time.perf_counter() - start
        group = _TransformerGroup(fold, sizes, data, seconds)
        sized_nodes = [_SizedNode(node) for node in nodes]
        group.fit_finals_across(sized_nodes)

        # Members that no shared fit has served continue below their own transformer, as without the family.
        def fit_below(sized: _SizedNode) -> None:
            if any(_is_pending(fold, leaf) for leaf in sized.node.all_finals()):
                with fold.suppress_failures(_candidates_of(sized.node.all_finals())):
                    fit_and_score_subtree(fold, sized.node, group.pop_data(sized))

        fold.map_tasks(fit_below, sized_nodes)


@dataclass(eq=False, slots=True)
class _SizedNode:
    """A node of a fitted transformer family: one size, and the data behind it once made."""

    node: PrefixNode
    data: TransformedFold | None = None


@dataclass(frozen=True, eq=False, slots=True)
class _SizedLeaf:
    """A final estimator of a node of a transformer family."""

    leaf: FinalEstimator
    sized: _SizedNode


@dataclass(frozen=True, eq=False, slots=True)
class _TransformerGroup:
    """Sibling transformers that were fitted together.

    Attributes
    ----------
    fold : FoldRunner
    sizes : FittedSizes
        The fit that serves all of them.
    data : TransformedFold
        The data that they were fitted on.
    seconds : float
        The time that the fit took.
    """

    fold: FoldRunner
    sizes: FittedSizes
    data: TransformedFold
    seconds: float

    def make_data(self, sized: _SizedNode) -> TransformedFold:
        """Return the data behind one transformer."""
        step = sized.node.step
        X_fit = self.sizes.fit_transform_output(step, self.data.X_fit)
        return self.fold.transform_rows(step, self.sizes.fitted_step(step), X_fit, self.data, self.seconds)

    def pop_data(self, sized: _SizedNode) -> TransformedFold:
        """Return the data behind one transformer, and drop the reference so that the memory is freed after its use."""
        data, sized.data = sized.data, None
        return self.make_data(sized) if data is None else data

    def fit_finals_across(self, sized_nodes: Sequence[_SizedNode]) -> None:
        """Fit families of final estimators whose members are below several of the transformers.

        In the example of this module, the two logistic regressions are below `pca(2)` and `pca(5)`. There are two ways:
        each member uses the matrix of its own transformer, or all use the leading columns of the widest matrix. The
        first has the rounding of scikit-learn, the second reads less memory; the family chooses by the size. Where
        labels are all that a score needs, rows to score are transformed once for all in both ways.
        """
        sized_of = {id(leaf): sized for sized in sized_nodes for leaf in sized.node.finals.values()}
        leaves = [leaf for sized in sized_nodes for leaf in sized.node.finals.values()]
        shared = functools.cache(lambda: self._make_shared_data([sized.node.step for sized in sized_nodes]))
        for families in (LABEL_FAMILIES, FINAL_FAMILIES):
            for family, members in _pending_groups(self.fold, leaves, families):
                if family.shares_leading_columns:
                    self._fit_across(family, [_SizedLeaf(leaf, sized_of[id(leaf)]) for leaf in members], shared)

    def _fit_across(
        self,
        family: FinalEstimatorFamily,
        members: Sequence[_SizedLeaf],
        shared: Callable[[], TransformedFold | None],
    ) -> None:
        n_columns = max(self.sizes.n_columns(member.sized.node.step) for member in members)
        uses_own = not family.prefers_shared_matrix((self.fold.n_train, n_columns), self.fold.y_train)
        is_sufficient = self.fold.scores_labels if uses_own else self.fold.scores_ranking
        shared_data = shared() if is_sufficient(members[0].leaf.step.template) else None
        if shared_data is not None:
            self._fit_with_shared_rows(family, members, shared_data, uses_own=uses_own)
        elif uses_own:
            self._fit_on_own_matrices(family, members)
        # else: the score needs exact decision values; each member is fitted on its own, below its transformer

    def _fit_on_own_matrices(self, family: FinalEstimatorFamily, members: Sequence[_SizedLeaf]) -> None:
        for sized in {id(member.sized): member.sized for member in members}.values():
            if sized.data is None:  # another family may have made it
                with self.fold.suppress_failures(_candidates_of(sized.node.all_finals())):
                    sized.data = self.make_data(sized)
        grouped = [GroupedCandidate(m.leaf, m.sized.data) for m in members if m.sized.data is not None]
        fit_final_family(self.fold, family, grouped)

    def _make_shared_data(self, steps: Sequence[PipelineStep]) -> TransformedFold | None:
        """Return the data behind the largest size; None if those behind the others are not its leading columns."""
        matrices = self.sizes.shared_matrices(steps, self.data.X_fit, [self.data.X_test, self.data.X_train])
        if matrices is None:
            return None
        X_fit, (X_test, X_train) = matrices
        fit_seconds = self.data.fit_seconds + self.seconds
        return replace(self.data, X_fit=X_fit, X_test=X_test, X_train=X_train, fit_seconds=fit_seconds)

    def _fit_with_shared_rows(
        self, family: FinalEstimatorFamily, members: Sequence[_SizedLeaf], shared: TransformedFold, *, uses_own: bool
    ) -> None:
        """Score members on the leading columns of shared rows; fit them there, or on matrices of their own."""
        own: dict[int, Any] = {}
        for sized in {id(member.sized): member.sized for member in members if uses_own}.values():
            own[id(sized)] = self.sizes.fit_transform_output(sized.node.step, self.data.X_fit)
        grouped = [
            GroupedCandidate(m.leaf, shared, self.sizes.n_columns(m.sized.node.step), own.get(id(m.sized)))
            for m in members
        ]
        if uses_own or family in LABEL_FAMILIES:
            fit_final_family(self.fold, family, grouped)
            return
        # In parts of similar widths: their matrix is not wider than needed, and idle threads take parts.
        grouped.sort(key=lambda candidate: candidate.n_columns or 0)
        parts = [grouped[i : i + PART_SIZE] for i in range(0, len(grouped), PART_SIZE)]
        self.fold.map_tasks(lambda part: fit_final_family(self.fold, family, part), parts)


def fit_final_family(fold: FoldRunner, family: FinalEstimatorFamily, members: list[GroupedCandidate]) -> None:
    """Fit and score members of a family together; members that it cannot fit or score exactly keep no result."""
    steps, fits = [member.leaf.step for member in members], None
    start = time.perf_counter()
    with fold.suppress_failures(_candidates_of(member.leaf for member in members)):
        fit_params = fold.fit_params.for_finals(steps)
        for member in members:
            fold.fit_params.check_requested(member.data.steps, member.leaf.step)
        fits = family.fit(steps, [member.design() for member in members], fold.y_train, fit_params)
        fold.monitor.check_rng()
    if fits is not None:
        # The time of a group is divided evenly: the times of single members are not known.
        score_family(fold, fits, members, (time.perf_counter() - start) / len(members))


def _is_pending(fold: FoldRunner, leaf: FinalEstimator) -> bool:
    return leaf.candidates[0] not in fold.results


def _pending_candidates(fold: FoldRunner, node: PrefixNode) -> list[int]:
    return _candidates_of(leaf for leaf in node.all_finals() if _is_pending(fold, leaf))


def _candidates_of(leaves: Iterable[FinalEstimator]) -> list[int]:
    return [candidate for leaf in leaves for candidate in leaf.candidates]
