"""Measure the house: sizes, parameter lists, and which room imports which, from the code's own statements.

Usage: .venv/bin/python tools/house.py [CHECKOUT]      prints one figure a line; docs/house-before-after.md keeps some of them.
"""

from __future__ import annotations

import ast
import io
import itertools
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FACE = "tessera_core"


# Home-made words for which the field has one (the table of renamed names). Words of everyday language that stand for more than
# one thing (place, found, look, side, group), and numbers, which is what people read for values, are not among them.
HOME_MADE = frozenset({
    "alike", "bolder", "careful", "certainty", "cleaning", "cleanup", "desk", "desks", "doctor", "donor",
    "donors", "doubt", "doubted", "doubtful", "doubts", "fuse", "fusion", "imagined", "journal", "lattice",
    "levelling", "mend", "mended", "mending", "mends", "novelty", "parity", "patiently", "ramp", "ramps",
    "soften", "softened", "stories", "story", "study", "suggest", "surroundings", "temper", "tempered",
    "tidied", "tidy", "tips", "unlike", "witness", "witnessed", "witnesses",
})  # fmt: skip
# Where a word is another one, which is right there: the beginning of a path and the reason.
OTHER_WORDS: dict[str, dict[str, str]] = {
    "parity": {
        "analysis/postprocess.py": "odd or even: the two colours of a chessboard that a random field is updated by"
    },
    "fusion": {"models/": "the teacher's fusion transformer; the name is its checkpoints'"},
    "fuse": {
        "models/encoder.py": "the two time series of a pixel become one vector in the model",
        "inference/engine.py": "the same",
        "pretrain/monitor.py": "the same",
        "bench/generate.py": "the same",
    },
    "study": {
        "cli/study.py": "`tessera study` runs experiments with encoders",
        "pretrain/studies/": "these experiments",
    },
}


def home_made_names(checkout: Path) -> list[tuple[Path, str]]:
    """Files and the names in them, their own among these, that hold a word of :data:`HOME_MADE`, in Python and JavaScript."""
    found = []
    for path in sorted(p for ending in ("py", "js", "ts") for p in (checkout / FACE).rglob(f"*.{ending}")):
        here = path.relative_to(checkout / FACE).as_posix()
        for name in sorted({*Path(here).with_suffix("").parts, *_names(path)}):
            words = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower().split("_")
            if any(word in HOME_MADE and not here.startswith(tuple(OTHER_WORDS.get(word, ()))) for word in words):
                found.append((path, name))
    return found


def _names(path: Path) -> set[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        return {token.string for token in tokens if token.type == tokenize.NAME}
    bare = re.sub(r"/\*.*?\*/|//[^\n]*|\"[^\"\n]*\"|'[^'\n]*'", " ", text, flags=re.DOTALL)
    # Of a template only what is computed in it.
    bare = re.sub(r"`[^`]*`", lambda found: " ".join(re.findall(r"\$\{([^}]*)\}", found[0])), bare)
    return set(re.findall(r"[A-Za-z_]\w*", bare))


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


def equal_places(checkout: Path, lines: int = 6) -> list[tuple[int, str, str]]:
    """Length and two places (``file:line``) of every run of so many or more equal lines, the longest first.

    Blank lines, comments, imports and docstrings do not count, nor what is a line of brackets only.
    """
    files: dict[str, list[tuple[int, str]]] = {}
    for path in sorted((checkout / FACE).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        skipped = {
            number
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Import | ast.ImportFrom)
            or (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            )
            for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
        }
        said = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if n not in skipped]
        files[str(path.relative_to(checkout))] = [(n, line) for n, line in said if line and line[0] != "#"]
    starts: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    for name, said in files.items():
        for i in range(len(said) - lines + 1):
            window = tuple(line for _, line in said[i : i + lines])
            if any(len(line) > 6 for line in window):
                starts.setdefault(window, []).append((name, i))
    same = {(a, b) for places in starts.values() for a, b in itertools.combinations(places, 2)}
    found = []
    for (name, i), (other, j) in same:
        if ((name, i - 1), (other, j - 1)) in same or (name == other and j - i < lines):
            continue
        length = lines
        while ((name, i + length - lines + 1), (other, j + length - lines + 1)) in same:
            length += 1
        found.append((length, f"{name}:{files[name][i][0]}", f"{other}:{files[other][j][0]}"))
    return sorted(found, reverse=True)


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
    left = home_made_names(checkout)
    print("names with a home-made word:", len(left), "in", len({path for path, _ in left}), "files")
    for path, name in left:
        print(" ", path.relative_to(checkout), name)
    same = equal_places(checkout)
    print("pairs of places with six or more equal lines:", len(same))
    for one in same:
        print("   ", *one)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
