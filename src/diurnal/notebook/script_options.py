"""Replacement of the command-line options of a script by their default values."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator

from diurnal.notebook.syntax import callee_name

PLACEHOLDER = "FILL_IN"
_USUAL_HOLDERS = ("args", "opt", "opts", "options", "parsed", "flags")


def substitute_options(nodes: list[ast.stmt]) -> tuple[list[ast.stmt], dict[str, str]]:
    """Replace the options of `argparse` by their default values.

    Returns
    -------
    nodes : list of ast.stmt
        The statements with values in place of options.
    used : dict of str to str
        The options that were replaced, and their values.

    Examples
    --------
    >>> nodes = ast.parse('''
    ... parser.add_argument("--max-iter", type=int, default=200)
    ... parser.add_argument("file")
    ... args = parser.parse_args()
    ... model = fit(args.file, args.max_iter)
    ... ''').body
    >>> nodes, used = substitute_options(nodes)
    >>> print(ast.unparse(nodes[-1]), used)
    model = fit(FILL_IN, 200) {'file': 'FILL_IN', 'max_iter': '200'}
    """
    defaults = dict(_option_defaults(nodes))
    if not defaults:
        return nodes, {}
    replacer = _OptionReplacer(defaults, {*_USUAL_HOLDERS, *_option_holders(nodes)})
    return [ast.fix_missing_locations(replacer.visit(node)) for node in nodes], replacer.used


def _option_defaults(nodes: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for call in _calls_of(nodes, "add_argument"):
        names = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
        arguments = {keyword.arg: keyword.value for keyword in call.keywords}
        texts = [name for name in names if isinstance(name, str)]
        if not texts:
            continue
        long = next((name for name in texts if name.startswith("--")), texts[0])
        named = getattr(arguments.get("dest"), "value", None)
        name = named if isinstance(named, str) else long.lstrip("-").replace("-", "_")
        yield name, arguments.get("default", _implicit_default(arguments, long))


def _implicit_default(arguments: dict[str | None, ast.expr], name: str) -> ast.expr:
    action = getattr(arguments.get("action"), "value", None)
    if action in ("store_true", "store_false"):
        return ast.Constant(action == "store_false")
    required = getattr(arguments.get("required"), "value", None) is True or not name.startswith("-")
    return ast.Name(PLACEHOLDER, ast.Load()) if required else ast.Constant(None)


def _option_holders(nodes: list[ast.stmt]) -> Iterator[str]:
    """Yield the names of the variables that hold the options."""
    for assign in (part for node in nodes for part in ast.walk(node) if isinstance(part, ast.Assign)):
        callee = callee_name(assign.value.func) if isinstance(assign.value, ast.Call) else ""
        if callee in ("parse_args", "parse_arguments", "get_args", "parse_cli"):
            yield from (target.id for target in assign.targets if isinstance(target, ast.Name))


def _calls_of(nodes: list[ast.stmt], name: str) -> Iterator[ast.Call]:
    for node in nodes:
        yield from (part for part in ast.walk(node) if isinstance(part, ast.Call) and callee_name(part.func) == name)


class _OptionReplacer(ast.NodeTransformer):
    def __init__(self, defaults: dict[str, ast.expr], holders: set[str]) -> None:
        self.defaults = defaults
        self.holders = holders
        self.used: dict[str, str] = {}

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        is_option = isinstance(node.value, ast.Name) and node.value.id in self.holders and node.attr in self.defaults
        if not is_option or not isinstance(node.ctx, ast.Load):
            return self.generic_visit(node)
        value = self.defaults[node.attr]
        self.used[node.attr] = ast.unparse(value)
        return ast.copy_location(copy.deepcopy(value), node)
