"""Measure the house: sizes, parameter lists, and which room imports which, from the code's own statements.

Usage: .venv/bin/python tools/house.py [CHECKOUT]      prints one figure a line; docs/house-before-after.md keeps some of them.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FACE = "tessera_core"


def modules(checkout: Path) -> dict[str, Path]:
    """Dotted name -> file of every module of the package."""
    found = {}
    for path in sorted((checkout / FACE).rglob("*.py")):
        parts = list(path.relative_to(checkout).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def statements(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements that can run: those inside functions too, those for type checkers not."""
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
        else:
            pending += ast.iter_child_nodes(node)


def imports(known: dict[str, Path]) -> dict[str, set[str]]:
    """Module -> modules of the package that it imports."""
    edges: dict[str, set[str]] = {}
    for name, path in known.items():
        found: set[str] = set()
        for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names if alias.name in known}
                continue
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found |= {one for one in (whole if whole in known else node.module,) if one in known}
        edges[name] = found - {name}
    return edges


def circles(edges: dict[str, set[str]]) -> int:
    """How many groups of two or more modules import each other, directly or not."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        pending = [start]
        while pending:
            for one in edges[pending.pop()] - seen:
                seen.add(one)
                pending.append(one)
        return seen

    reach = {name: reached(name) for name in edges}
    groups = {
        frozenset(other for other in reach[name] if name in reach[other]) for name in edges if name in reach[name]
    }
    return len(groups)


def parameters(known: dict[str, Path]) -> list[tuple[int, str]]:
    """Number of parameters and name of every function, the longest list first."""
    found = []
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                asked = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                found.append((sum(one.arg not in ("self", "cls") for one in asked), f"{name}.{node.name}"))
    return sorted(found, reverse=True)


def lengths(checkout: Path, ending: str) -> list[tuple[int, str]]:
    """Lines and path of every file of the package with an ending, the longest first."""
    files = (checkout / FACE).rglob(f"*{ending}")
    return sorted(
        ((len(p.read_text(encoding="utf-8").splitlines()), str(p.relative_to(checkout))) for p in files), reverse=True
    )


def main(checkout: Path) -> None:
    """Print the figures."""
    known = modules(checkout)
    edges = imports(known)

    def room(name: str) -> str:
        return [*name.split("."), FACE][1]

    arrows = {(room(a), room(b)) for a, targets in edges.items() for b in targets} - {(r, r) for r in map(room, edges)}
    asked = parameters(known)
    print("files at the top:", len(list((checkout / FACE).glob("*.py"))))
    print("rooms (files and folders at the top):", len({room(name) for name in known}))
    print("arrows between rooms:", len(arrows))
    print("circles of modules:", circles(edges))
    for ending in (".py", ".js"):
        print(f"largest {ending}:", *lengths(checkout, ending)[:1])
        print(f"lines of {ending}:", sum(lines for lines, _ in lengths(checkout, ending)))
    print("modules:", len(known))
    print("longest parameter list:", *asked[:1])
    print("functions with more than 8 parameters:", sum(count > 8 for count, _ in asked))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
