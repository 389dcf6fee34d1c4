"""The changes that can be made to the rules: each replaces one part of a module by another."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
SUBSYSTEMS = ("cpuset", "cpuacct", "freezer", "pids")
OF_V2 = ("core", "cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids", "pressure", "rdma")
# The parts of the model that act as a kernel.
PARTS = (
    *("affinity", "attach", "cgroups", "containers", "control_files", "enforcer", "hierarchies"),
    *("hotplug", "lifetimes", "mounts", "open_files", "parameters", "placement", "proc_files"),
    *("namespaces", "releases", "simulator"),
)
MODULES = (
    "pcont.backend_model",
    *(f"pcont.model.{name}" for name in PARTS),
    *(f"pcont.subsys.{name}" for name in SUBSYSTEMS),
    *(f"pcont.subsys.v1.{name}" for name in ("core", *SUBSYSTEMS)),
    *(f"pcont.subsys.model.{name}" for name in ("core", *SUBSYSTEMS, "numfiles")),
    *(f"pcont.subsys.model.v2.{name}" for name in OF_V2),
)

# What is said to a person, and what is pcont's own and no rule of a kernel.
WORDS = {
    "help",
    "hint",
    "order",
    "listed",
    "inherit",
    "lasting",
    "written_to",
    "write_back",
    "merge",
    "advice",
    "faces",
    "strict",
    "may_refuse",
}
NO_RULES = {
    *("environment", "exclusive", "journals", "default_directory", "resolve", "missing", "show"),
    *("make_directory", "remove_directory", "occupied", "owners", "set_owners"),
    *("in_the_way", "copies", "keeper", "_entries", "_is_there", "_container_at"),
    *("attributes", "set_attribute", "stray", "mend", "family", "thawing", "_list", "_offer"),
    "_filling",
    "SMALL",
    "_LOADS",  # of which the kernel shows rounded numbers: test_v2_kernel.py compares all of them
}
DROPPED = {
    *("writable", "where", "default", "root_default", "root_fixed", "rules", "derived", "effect"),
    *("passed_on", "moves_affinity", "entry", "root_value", "account", "cpus", "fork", "frozen"),
    *("on_clone", "on_closed", "on_empty", "on_enter", "on_fork", "on_hotplug", "on_leave"),
    *("on_rebind", "on_run", "on_enabled", "on_disabled", "on_removed"),
    *("write", "refuses", "confines", "kills", "hidden", "lines", "vet", "takes_threads"),
    *("processes", "stays_counted", "kills_frozen", "keeps_zombies", "not_built"),
}
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.FloorDiv: ast.Mult,
    ast.Mult: ast.FloorDiv,
}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
WHERES = {"ROOT": "EVERYWHERE", "NOT_ON_ROOT": "EVERYWHERE", "EVERYWHERE": "ROOT"}
AROUND = 30  # letters of a part that are shown around what is changed
ERRNOS = ("EINVAL", "EBUSY", "EACCES", "ENOSPC", "ERANGE", "ENOENT", "ESRCH", "EEXIST", "ENOTDIR")


@dataclass(frozen=True)
class Change:
    """One part of a module, by its number among all the parts that can be changed.

    `where`: the function or the class around it, or the name that is assigned. `at_import`: it
    takes effect when the module is loaded, not when a test executes its line.
    """

    module: str
    number: int
    line: int
    at_import: bool
    where: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{file_of(self.module)}:{self.line} {self.where}: {self.before}  ->  {self.after}"

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names it, even after its lines have moved."""
        return self.module, self.where, self.before, self.after

    def applied(self) -> ast.Module:
        """The module with this change."""
        tree = _parsed(self.module)
        for number, (_, apply) in enumerate(_changes(self.module, tree)):
            if number == self.number:
                apply()
                return ast.fix_missing_locations(tree)
        raise LookupError(str(self))


def file_of(module: str) -> str:
    """The file of a module, from the checkout on."""
    return f"{module.replace('.', '/')}.py"


def every(module: str) -> list[Change]:
    """All changes that can be made to a module."""
    return [change for change, _ in _changes(module, _parsed(module))]


def _parsed(module: str) -> ast.Module:
    return ast.parse((CHECKOUT / file_of(module)).read_text(encoding="utf-8"))


def _changes(module: str, tree: ast.Module) -> Iterator[tuple[Change, Callable[[], None]]]:
    number = 0
    for place in _places(tree):
        for old, new in _variants(place.node):
            change = Change(
                *(module, number, place.node.lineno, place.at_import, place.where),
                *_apart(_short(old), _short(new)),
            )
            yield change, _replacing(place, new)
            number += 1


def _short(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


def _apart(old: str, new: str) -> tuple[str, str]:
    """Two texts from a little before where they differ to a little after it."""
    begins = _alike(old, new)
    ends = min(_alike(old[::-1], new[::-1]), len(old) - begins, len(new) - begins)
    first = max(begins - AROUND, 0)
    shown = [text[first : len(text) - max(ends - AROUND, 0)] for text in (old, new)]
    return shown[0], shown[1]


def _alike(old: str, new: str) -> int:
    """How many letters they have in common before the first that differs."""
    pairs = enumerate(zip(old, new, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(old), len(new)))


@dataclass(frozen=True)
class _Place:
    """A statement or an expression, and where it hangs.

    `at_import`: it is outside all functions.
    """

    node: ast.stmt | ast.expr
    parent: ast.AST
    field: str
    index: int | None
    where: str
    at_import: bool


def _replacing(place: _Place, new: ast.AST) -> Callable[[], None]:
    def apply() -> None:
        if place.index is None:
            setattr(place.parent, place.field, new)
        else:
            getattr(place.parent, place.field)[place.index] = new

    return apply


def _places(parent: ast.AST, where: str = "", at_import: bool = True) -> Iterator[_Place]:
    """All parts that may be changed, in the order of the source."""
    for field, value in ast.iter_fields(parent):
        if _told(parent, field):
            continue
        loaded = at_import and not (
            isinstance(parent, (ast.FunctionDef, ast.Lambda)) and field == "body"
        )
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(node, ast.AST) or _spared(parent, field, index, node):
                continue
            inside = _name(node, where)
            if isinstance(node, (ast.stmt, ast.expr)):
                yield _Place(node, parent, field, index, inside, loaded)
            yield from _places(node, inside, loaded)


def _name(node: ast.AST, where: str) -> str:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return f"{where}.{node.name}" if where else node.name
    if isinstance(node, ast.Assign) and not where:
        return ast.unparse(node.targets[0])
    if isinstance(node, ast.Call) and node.args and ast.unparse(node.func) in ROWS:
        return f"{where}.{ast.unparse(node.args[0])}"
    return where


REFUSALS = ("Violation", "refuse", "refuse_text")
ROWS = ("ControlFile", "_flag", "_counter")


def _told(parent: ast.AST, field: str) -> bool:
    """Types, decorators and names are no behaviour."""
    return field in ("annotation", "returns", "decorator_list", "bases", "ctx", "targets", "func")


def _spared(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> bool:
    """What a person reads, and what is no rule."""
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.JoinedStr, ast.arguments)):
        return True
    if isinstance(node, (ast.FunctionDef, ast.Assign)) and _name(node, "") in NO_RULES:
        return True
    if isinstance(node, ast.keyword) and node.arg in WORDS:
        return True
    if isinstance(parent, ast.Call) and field == "args" and isinstance(index, int):
        # Violation(errno, reason, hint), refuse(errno, where), refuse_text(errno, where)
        return index > 0 and ast.unparse(parent.func) in REFUSALS
    return False


def _variants(node: ast.stmt | ast.expr) -> Iterator[tuple[ast.AST, ast.AST]]:
    """What is changed, as it is shown, and what stands in its stead."""
    for kind, variants in VARIANTS.items():
        if isinstance(node, kind):
            for new in variants(node):
                yield node, new


def _compared(node: ast.Compare) -> Iterator[ast.AST]:
    for index, op in enumerate(node.ops):
        for other in COMPARISONS[type(op)]:
            new = copy.deepcopy(node)
            new.ops[index] = other()
            yield new


def _joined(node: ast.BoolOp) -> Iterator[ast.AST]:
    yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    for index in range(len(node.values)):
        rest = [*node.values[:index], *node.values[index + 1 :]]
        yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def _operated(node: ast.BinOp) -> Iterator[ast.AST]:
    if other := OPERATORS.get(type(node.op)):
        yield ast.BinOp(node.left, other(), node.right)
    if isinstance(node.op, (ast.Sub, ast.BitAnd, ast.Mod)):
        yield node.left


def _not(node: ast.UnaryOp) -> Iterator[ast.AST]:
    if isinstance(node.op, ast.Not):
        yield node.operand


def _constant(node: ast.Constant) -> Iterator[ast.AST]:
    if isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node.value, int):
        yield ast.Constant(node.value + 1)


def _named(node: ast.Name) -> Iterator[ast.AST]:
    if node.id in ERRNOS:
        yield ast.Name("EBUSY" if node.id == "EINVAL" else "EINVAL", ast.Load())


def _attribute(node: ast.Attribute) -> Iterator[ast.AST]:
    if isinstance(node.value, ast.Name) and node.value.id == "Where":
        yield ast.Attribute(node.value, WHERES[node.attr], ast.Load())


def _called(node: ast.Call) -> Iterator[ast.AST]:
    if isinstance(node.func, ast.Name) and node.func.id in CALLS:
        yield ast.Call(ast.Name(CALLS[node.func.id], ast.Load()), node.args, node.keywords)
    for index, word in enumerate(node.keywords):
        if word.arg in DROPPED:
            new = copy.deepcopy(node)
            del new.keywords[index]
            yield new


def _listed(node: ast.Tuple) -> Iterator[ast.AST]:
    """One less, of rules and of rows."""
    if isinstance(node.ctx, ast.Load) and all(
        isinstance(one, (ast.Name, ast.Call, ast.Starred)) for one in node.elts
    ):
        for index in range(len(node.elts)):
            yield ast.Tuple([*node.elts[:index], *node.elts[index + 1 :]], ast.Load())


def _returned(node: ast.Return) -> Iterator[ast.AST]:
    if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "Violation":
        yield ast.Return(ast.Constant(None))


def _asked(node: ast.If | ast.While | ast.IfExp) -> Iterator[ast.AST]:
    if not isinstance(node.test, (ast.Compare, ast.BoolOp, ast.UnaryOp)):
        new = copy.copy(node)
        new.test = ast.UnaryOp(ast.Not(), node.test)
        yield new


def _filtered(
    node: ast.GeneratorExp | ast.ListComp | ast.DictComp | ast.SetComp,
) -> Iterator[ast.AST]:
    if any(one.ifs for one in node.generators):
        new = copy.deepcopy(node)
        for one in new.generators:
            one.ifs = []
        yield new


def _done(node: ast.stmt) -> Iterator[ast.AST]:
    """It is not done."""
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    if not docstring:
        yield ast.Pass()


def _assigned(node: ast.Assign) -> Iterator[ast.AST]:
    if isinstance(node.targets[0], (ast.Attribute, ast.Subscript)):
        yield ast.Pass()


VARIANTS: dict[type[ast.AST] | tuple[type[ast.AST], ...], Callable[..., Iterator[ast.AST]]] = {
    ast.Compare: _compared,
    ast.BoolOp: _joined,
    ast.BinOp: _operated,
    ast.UnaryOp: _not,
    ast.Constant: _constant,
    ast.Name: _named,
    ast.Attribute: _attribute,
    ast.Call: _called,
    ast.Tuple: _listed,
    ast.Return: _returned,
    (ast.If, ast.While, ast.IfExp): _asked,
    (ast.GeneratorExp, ast.ListComp, ast.DictComp, ast.SetComp): _filtered,
    (ast.Expr, ast.AugAssign, ast.Raise, ast.Delete): _done,
    ast.Assign: _assigned,
}
