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
from diurnal.search.column_branches import Branches
from diurnal.search.families import FINALS, NESTED
from diurnal.search.families.protocol import Design, Final, Fits, Nested, Sizes
from diurnal.search.fold import Fold, Matrices, lend
from diurnal.search.tree import Leaf, Node, Step


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
    children, shape = list(node.children.values()), getattr(given.train, "shape", ())
    for family, places in families([child.step for child in children], NESTED):
        served = [children[i] for i in places if len(shape) == 2 and family.serves(children[i].step, shape)]
        if len(served) > 1:
            walk_nested(fold, family, served, given)
    branches = Branches([child.step for child in children], fold.witness)
    for child in children:
        below = [leaf for leaf in child.all_leaves() if _open(fold, leaf)]
        if below:
            with fold.attempt(_candidates(below)):
                walk(fold, child, fold.transform(child.step, given, branches))


def walk_nested(fold: Fold, family: Nested, nodes: list[Node], given: Matrices) -> None:
    """Fit siblings together and walk on below each; where that fails, they keep no result."""
    below = [leaf for node in nodes for leaf in node.all_leaves()]
    with fold.attempt(_candidates(below)):
        start = time.perf_counter()
        steps, words = [node.step for node in nodes], fold.fit_params.of_fit_transform(nodes[0].step)
        sizes = family.fit(steps, lend(nodes[0].step, given.train), fold.y_train, words)
        fold.witness.check_draws()
        seconds = time.perf_counter() - start
        served = [(node, sizes.fitted(node.step)) for node in nodes]
        ready = _finals_across(fold, sizes, served, given, seconds)
        for node, fitted in served:
            if any(_open(fold, leaf) for leaf in node.all_leaves()):
                with fold.attempt(_candidates(node.all_leaves())):
                    behind = ready.pop(id(node), None) or _behind(fold, sizes, node, fitted, given, seconds)
                    walk(fold, node, behind)


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
        several = {id(node): (node, fitted) for _, node, fitted in mine}
        widest = max(sizes.width(node.step) for node, _ in several.values())
        if not family.wide((fold.n_train, widest), fold.y_train):
            for node, fitted in several.values():
                with fold.attempt(_candidates(node.all_leaves())):
                    ready[id(node)] = _behind(fold, sizes, node, fitted, given, seconds)
            members = [Member(leaf, ready[id(node)], None) for leaf, node, _ in mine if id(node) in ready]
            fit_finals(fold, family, members)
        elif fold.only_order(mine[0][0].step.template):
            matrices = sizes.wide([node.step for _, node, _ in mine], given.train, [given.test, given.seen])
            if matrices is None:
                continue
            train, (test, seen) = matrices
            wide = replace(given, train=train, test=test, seen=seen, seconds=given.seconds + seconds)
            fit_finals(fold, family, [Member(leaf, wide, sizes.width(node.step)) for leaf, node, _ in mine])
    return ready


def fit_finals(fold: Fold, family: Final, members: list[Member]) -> None:
    """Fit and score members of a final family together; those that it does not serve keep no result."""
    everybody = _candidates([m.leaf for m in members])
    steps, fits = [m.leaf.step for m in members], None
    start = time.perf_counter()
    with fold.attempt(everybody):
        words = fold.fit_params.of_fits(steps)
        for member in members:
            fold.fit_params.check(member.given.steps, member.leaf.step)
        fits = family.fit(steps, [Design(m.given.train, m.width) for m in members], fold.y_train, words)
        fold.witness.check_draws()
    if fits is not None:
        _record(fold, fits, members, (time.perf_counter() - start) / len(members))


def _record(fold: Fold, fits: Fits, members: list[Member], seconds: float) -> None:
    """Score what was fitted together: all at once where only labels count, else one by one."""
    start = time.perf_counter()
    known = _labels(fold, fits, members)
    each = (time.perf_counter() - start) / len(members)
    params = fold.score_params
    plain = params.are_weights and scoring.is_accuracy(fold.scorer, members[0].leaf.step.template)
    on_train, on_test = params.on_train.get("sample_weight"), params.on_test.get("sample_weight")
    for i, (leaf, given, width) in enumerate(members):
        with fold.attempt(leaf.candidates):
            labels, seen = known[i]
            sure = labels is not None and (seen is not None or not fold.seen)
            if sure and plain:
                fits.conclude(i)
                params.check(given.steps, leaf.step)
                score = scoring.accuracy(fold.y_test, labels, on_test)
                train_score = scoring.accuracy(fold.y_train, seen, on_train) if fold.seen else None
                fold.write(leaf, score, train_score, given.seconds + seconds, given.score_seconds + each)
            elif sure or fits.exact:
                fold.record(leaf, (fits.estimator(i), seconds), _leading(given, width))
    # what cannot be sure of its score has no result, and is fitted on its own


def _labels(fold: Fold, fits: Fits, members: list[Member]) -> list[tuple[Any, Any]]:
    """Give what each predicts for test rows and for train rows, if that is all that counts; None where unsure."""
    unknown: list[Any] = [None] * len(members)
    final = members[0].leaf.step.template
    ordered = not scoring.only_labels(fold.scorer, final)
    if ordered and (fits.exact or not fold.only_order(final)):
        return list(zip(unknown, unknown, strict=True))
    test = fits.labels([m.given.test for m in members], fold.y_test if ordered else None)
    seen = fits.labels([m.given.seen for m in members], fold.y_train if ordered else None) if fold.seen else None
    return list(zip(test or unknown, seen or unknown, strict=True))


def _leading(given: Matrices, width: int | None) -> Matrices:
    if width is None:
        return given
    cut = [None if matrix is None else matrix[:, :width] for matrix in (given.train, given.test, given.seen)]
    return replace(given, train=cut[0], test=cut[1], seen=cut[2])


def _open(fold: Fold, leaf: Leaf) -> bool:
    return leaf.candidates[0] not in fold.results


def _candidates(leaves: Iterable[Leaf]) -> list[int]:
    return [c for leaf in leaves for c in leaf.candidates]
