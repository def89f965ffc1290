"""Walking the tree of a plan on one fold, depth first: each node is fitted once, and its matrices die with its branch.

Siblings that a family serves are fitted together. Candidates of one final family below siblings of one nested family
share the widest matrix, of which each uses the leading columns.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from diurnal.search import scoring
from diurnal.search.families import FINALS, NESTED
from diurnal.search.families.kinds import Design, Final, Fits, Nested, NotServed, Sizes
from diurnal.search.fold import Fold, Matrices, lend
from diurnal.search.plan import Leaf, Node, Step


class Member(NamedTuple):
    """A leaf that is fitted with others: what its own node gives, and its width where they share a wide matrix."""

    leaf: Leaf
    given: Matrices
    width: int | None


def has_families(node: Node) -> bool:
    """Tell whether anything below is served by a family."""
    nested = any(len(group) > 1 for _, group in families([c.step for c in node.children.values()], NESTED))
    finals = any(len(group) > 1 for _, group in families([leaf.step for leaf in node.leaves.values()], FINALS))
    return nested or finals or any(map(has_families, node.children.values()))


def families(steps: Sequence[Step], known: Iterable[Any]) -> list[tuple[Any, list[int]]]:
    """Sort pipeline steps by the family that serves them together; give each family with its steps' places."""
    groups: dict[Hashable, tuple[Any, list[int]]] = {}
    for i, step in enumerate(steps):
        for family in known:
            key = family.key(step)
            if key is not None:
                groups.setdefault((id(family), key), (family, []))[1].append(i)
                break
    return [(family, places) for family, places in groups.values() if len(places) > 1]


def walk(fold: Fold, node: Node, given: Matrices) -> None:
    """Fit and score all that is below a node, and has no result yet."""
    leaves = [leaf for leaf in node.leaves.values() if _open(fold, leaf)]
    for family, places in families([leaf.step for leaf in leaves], FINALS):
        fit_finals(fold, family, [Member(leaves[i], given, None) for i in places])
    for leaf in leaves:
        if _open(fold, leaf):
            with fold.attempt(leaf.candidates):
                fold.record(leaf, fold.fit(leaf.step, given), given)
    children = list(node.children.values())
    for family, places in families([child.step for child in children], NESTED):
        walk_nested(fold, family, [children[i] for i in places], given)
    for child in children:
        below = [leaf for leaf in child.all_leaves() if _open(fold, leaf)]
        if below:
            with fold.attempt(_candidates(below)):
                walk(fold, child, fold.transform(child.step, given))


def walk_nested(fold: Fold, family: Nested, nodes: list[Node], given: Matrices) -> None:
    """Fit siblings together and walk on below each; what the family does not serve keeps no result."""
    below = [leaf for node in nodes for leaf in node.all_leaves()]
    with fold.attempt(_candidates(below)):
        start = time.perf_counter()
        steps, words = [node.step for node in nodes], fold.fit_params.get(nodes[0].step.path, {})
        sizes = family.fit(steps, lend(nodes[0].step.template, given.train), fold.y_train, words)
        fold.witness.check_draws()
        seconds = time.perf_counter() - start
        served: dict[int, Any] = {}
        for i, node in enumerate(nodes):
            try:
                served[i] = sizes.fitted(node.step)
            except NotServed:
                continue
        ready = _finals_across(fold, sizes, [(nodes[i], fitted) for i, fitted in served.items()], given, seconds)
        for i, fitted in served.items():
            if any(_open(fold, leaf) for leaf in nodes[i].all_leaves()):
                with fold.attempt(_candidates(list(nodes[i].all_leaves()))):
                    behind = ready.pop(id(nodes[i]), None) or _behind(fold, sizes, nodes[i], fitted, given, seconds)
                    walk(fold, nodes[i], behind)


def _behind(fold: Fold, sizes: Sizes, node: Node, fitted: Any, given: Matrices, seconds: float) -> Matrices:
    return fold.onward(node.step, fitted, sizes.train(node.step, given.train, fitted), given, seconds)


def _finals_across(
    fold: Fold, sizes: Sizes, nodes: list[tuple[Node, Any]], given: Matrices, seconds: float
) -> dict[int, Matrices]:
    """Fit final families below several siblings together; give the matrices that were made for it, by node."""
    ready: dict[int, Matrices] = {}
    leaves = [(leaf, node, fitted) for node, fitted in nodes for leaf in node.leaves.values()]
    leading = [family for family in FINALS if family.leading]
    for family, places in families([leaf.step for leaf, _, _ in leaves], leading):
        mine = [leaves[i] for i in places]
        widest = max(sizes.width(node.step) for _, node, _ in mine)
        if not family.wide((fold.n_train, widest), fold.y_train):
            for _, node, fitted in mine:
                if id(node) not in ready:
                    ready[id(node)] = _behind(fold, sizes, node, fitted, given, seconds)
            fit_finals(fold, family, [Member(leaf, ready[id(node)], None) for leaf, node, _ in mine])
        elif fold.only_predicts and scoring.only_labels(fold.scorer, mine[0][0].step.template):
            steps = [node.step for _, node, _ in mine]
            train, (test, seen) = sizes.wide(steps, given.train, [given.test, given.seen])
            wide = replace(given, train=train, test=test, seen=seen, seconds=given.seconds + seconds)
            fit_finals(fold, family, [Member(leaf, wide, sizes.width(node.step)) for leaf, node, _ in mine])
    return ready


def fit_finals(fold: Fold, family: Final, members: list[Member]) -> None:
    """Fit and score members of a final family together; those that it does not serve keep no result."""
    everybody = _candidates([m.leaf for m in members])
    steps, fits = [m.leaf.step for m in members], None
    start = time.perf_counter()
    with fold.attempt(everybody):
        words = fold.fit_params.get(steps[0].path, {})
        fits = family.fit(steps, [Design(m.given.train, m.width) for m in members], fold.y_train, words)
        fold.witness.check_draws()
    if fits is not None:
        _record(fold, fits, members, (time.perf_counter() - start) / len(members))


def _record(fold: Fold, fits: Fits, members: list[Member], seconds: float) -> None:
    """Score what was fitted together: all at once where only labels count, else one by one."""
    start, labels, seen = time.perf_counter(), None, None
    of_labels = fold.only_predicts and scoring.only_labels(fold.scorer, members[0].leaf.step.template)
    if of_labels:
        labels = fits.labels([m.given.test for m in members])
        seen = fits.labels([m.given.seen for m in members]) if fold.seen and labels is not None else labels
    each = (time.perf_counter() - start) / len(members)
    for i, member in enumerate(members):
        with fold.attempt(member.leaf.candidates):
            if labels is not None and seen is not None and labels[i] is not None and seen[i] is not None:
                _score_labels(fold, fits, i, member, labels[i], seen[i], seconds, each)
            elif fits.exact:
                fold.record(member.leaf, (fits.estimator(i), seconds), member.given)
    # what cannot be sure of its score has no result, and is fitted on its own


def _score_labels(
    fold: Fold, fits: Fits, i: int, member: Member, labels: Any, seen: Any, seconds: float, each: float
) -> None:
    """Score known labels; by scikit-learn's scorer where it is not plain accuracy."""
    leaf, own, width = member
    if any(fold.score_params) or not scoring.is_accuracy(fold.scorer, leaf.step.template):
        fold.record(leaf, (fits.estimator(i), seconds), _leading(own, width))
        return
    fits.conclude(i)
    score = scoring.accuracy(fold.y_test, labels)
    on_train = scoring.accuracy(fold.y_train, seen) if fold.seen else None
    fold.write(leaf, score, on_train, own.seconds + seconds, own.score_seconds + each)


def _leading(given: Matrices, width: int | None) -> Matrices:
    if width is None:
        return given
    cut = [None if matrix is None else matrix[:, :width] for matrix in (given.train, given.test, given.seen)]
    return replace(given, train=cut[0], test=cut[1], seen=cut[2])


def _open(fold: Fold, leaf: Leaf) -> bool:
    return leaf.candidates[0] not in fold.results


def _candidates(leaves: Iterable[Leaf]) -> list[int]:
    return [c for leaf in leaves for c in leaf.candidates]
