"""Trees of classes: "Woodland" above "Broadleaved woodland" above "Beech"; labels may be given at any level.

For a page, in the order of use:

- ``parse_tree(text)`` reads pasted indented lines or JSON and gives a :class:`ClassTree`, or raises a ``LabelError`` whose
  sentence names the line. ``SHIPPED`` (name -> tree) holds the trees that come with the app; ``tree.to_text()`` fills a text box.
- ``adopt(log, tree)`` adds the classes that the label log lacks, as one event that one undo takes back.
- ``project.update(schema=tree.to_json())`` keeps the tree with the project, ``None`` takes it away;
  ``project.class_tree`` gives it back, or None.
- ``tree.rows(classes, counts)`` lists the tree line by line: name, depth, class id, labels of its own and beneath.
- ``tree.parents(classes)`` is what heads need (class id -> class id of the next level up); :mod:`tessera_core.project.classify`
  does this where a project has a tree.

A class belongs to a tree by its name (case does not matter). Classes outside the tree are roots of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core.errors import LabelError
from tessera_core.gate import parse_json, read_bytes
from tessera_core.labels.colors import color_for
from tessera_core.labels.model import MAX_CLASS_ID, LabelClass, clean_name

if TYPE_CHECKING:
    from tessera_core.labels.log import LabelLog

FORMAT = "tessera-class-tree/1"
TAB_WIDTH = 4
MAX_DEPTH = 8

_BULLET = re.compile(r"^(?:[-*•–]|\d+[.)](?=\s))\s+")
_COLOR = re.compile(r"\s+(#[0-9a-fA-F]{6})$")
_CODE = re.compile(r"^(?P<code>[A-Za-z]?|[A-Za-z]{0,4}\d[\w.]*)\s+(?P<name>\S.*)$")


@dataclass(frozen=True, slots=True)
class TreeNode:
    """One class of a tree.

    Attributes:
        name: one line, not empty, unique in its tree.
        parent: index of the node above, -1 for a root.
        depth: 0 for a root.
        code: of an outside scheme, or empty.
        color: ``"#rrggbb"``, or empty to have one chosen.
    """

    name: str
    parent: int = -1
    depth: int = 0
    code: str = ""
    color: str = ""


@dataclass(frozen=True, slots=True)
class TreeRow:
    """A line of a tree beside a project's classes.

    Attributes:
        node: index in :attr:`ClassTree.nodes`.
        name, depth, code: of the node.
        class_id: of the class with this name, None where the project has none.
        color: of that class, else of the node; may be empty.
        labels: of the class itself.
        below: of it and of everything beneath it.
    """

    node: int
    name: str
    depth: int
    code: str
    class_id: int | None
    color: str
    labels: int
    below: int


@dataclass(frozen=True)
class ClassTree:
    """Classes in levels; values are immutable.

    Attributes:
        name: of the scheme.
        nodes: in reading order, each after the one above it.
    """

    name: str
    nodes: tuple[TreeNode, ...]

    def children(self, node: int) -> list[int]:
        """Indices of the nodes directly beneath one; of the roots for -1."""
        return [i for i, other in enumerate(self.nodes) if other.parent == node]

    def ancestors(self, node: int) -> Iterator[int]:
        """Indices from the node above up to its root."""
        while (node := self.nodes[node].parent) >= 0:
            yield node

    def beneath(self, node: int) -> list[int]:
        """Indices of a node and of everything beneath it."""
        return [i for i in range(len(self.nodes)) if i == node or node in self.ancestors(i)]

    @property
    def levels(self) -> int:
        """How many levels the tree has."""
        return 1 + max(node.depth for node in self.nodes)

    def find(self, name_or_code: str) -> int | None:
        """Index of the node of a name (case does not matter) or else of a code; None where there is none."""
        key = clean_name(name_or_code).casefold()
        by_name = (i for i, node in enumerate(self.nodes) if node.name.casefold() == key)
        by_code = (i for i, node in enumerate(self.nodes) if node.code and node.code.casefold() == key)
        return next(by_name, next(by_code, None))

    def path(self, node: int) -> str:
        """``"Woodland > Conifer"``."""
        return " > ".join(self.nodes[i].name for i in [*reversed(list(self.ancestors(node))), node])

    def class_ids(self, classes: Iterable[LabelClass]) -> dict[int, int]:
        """Node index -> class id, for the nodes that are classes already."""
        known = {c.name.casefold(): c.id for c in classes}
        return {i: known[n.name.casefold()] for i, n in enumerate(self.nodes) if n.name.casefold() in known}

    def parents(self, classes: Iterable[LabelClass]) -> dict[int, int]:
        """Class id -> id of the nearest class above it; roots, and classes outside the tree, are not in it."""
        ids = self.class_ids(classes)
        above = {i: next((ids[a] for a in self.ancestors(i) if a in ids), None) for i in ids}
        return {ids[i]: parent for i, parent in above.items() if parent is not None}

    def rows(self, classes: Iterable[LabelClass], counts: Mapping[int, int] | None = None) -> list[TreeRow]:
        """The tree line by line, beside a project's classes and its labels by class id."""
        classes, counts = list(classes), counts or {}
        ids, colors = self.class_ids(classes), {c.id: c.color for c in classes}
        own = [counts.get(ids[i], 0) if i in ids else 0 for i in range(len(self.nodes))]
        below = list(own)
        for i in reversed(range(len(self.nodes))):
            if self.nodes[i].parent >= 0:
                below[self.nodes[i].parent] += below[i]
        return [
            TreeRow(i, n.name, n.depth, n.code, ids.get(i), colors.get(ids.get(i, -1), n.color), own[i], below[i])
            for i, n in enumerate(self.nodes)
        ]

    def with_classes(self, classes: Iterable[LabelClass]) -> ClassTree:
        """The tree with colours and codes of a project's classes, and the classes outside it as further roots."""
        by_name = {c.name.casefold(): c for c in classes}
        nodes = []
        for node in self.nodes:
            known = by_name.pop(node.name.casefold(), None)
            nodes.append(node if known is None else replace(node, code=known.code or node.code, color=known.color))
        return replace(self, nodes=(*nodes, *(TreeNode(c.name, code=c.code, color=c.color) for c in by_name.values())))

    def to_text(self) -> str:
        """Indented lines, which :func:`parse_tree` reads back."""
        return "\n".join(
            " " * TAB_WIDTH * n.depth + " ".join(filter(None, (n.code, n.name, n.color))) for n in self.nodes
        )

    def to_json(self) -> dict[str, Any]:
        """JSON object ``{"format", "name", "tree": [{"name", "code", "color", "children"}]}``; TEE reads it too."""

        def branch(node: int) -> dict[str, Any]:
            n = self.nodes[node]
            value: dict[str, Any] = {"name": n.name}
            value |= {key: text for key, text in (("code", n.code), ("color", n.color)) if text}
            below = [branch(i) for i in self.children(node)]
            return value | ({"children": below} if below else {})

        return {"format": FORMAT, "name": self.name, "tree": [branch(i) for i in self.children(-1)]}


def parse_tree(text: str, name: str = "") -> ClassTree:
    """A tree from pasted text: indented lines (spaces or tabs, with or without bullets), or JSON.

    A line is ``[code] name [#rrggbb]``. The first word is taken as a code where it has a digit (``w1f``, ``2.1``), or is a
    single letter while most lines begin with a code. JSON may be a list or object of ``{"name", "code", "children"}`` (as
    :meth:`ClassTree.to_json` and TEE write it), or nested objects and lists of names.

    Args:
        text: what was pasted.
        name: of the scheme, where the text does not say it.

    Raises:
        LabelError: the text holds no tree; the message names the line.
    """
    text = text.lstrip("\ufeff").strip("\r\n")
    if not text.strip():
        raise LabelError(
            "There are no classes in the text. Write one class a line, and indent what belongs beneath it."
        )
    if text.lstrip()[0] in "[{":
        try:
            value = parse_json(text)
        except ValueError as error:
            where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            raise LabelError(
                f"The text begins like JSON but is not readable{where}; check commas and brackets."
            ) from error
        return from_json(value, name)
    return _built(_lines(text), name)


def from_json(value: Any, name: str = "") -> ClassTree:
    """A tree from a JSON value, see :func:`parse_tree`.

    Raises:
        LabelError: it is no tree.
    """
    if isinstance(value, dict):
        if value.get("format", FORMAT) != FORMAT:
            raise LabelError(f"The class tree is of the format {value['format']!r}; this version reads {FORMAT!r}.")
        if isinstance(value.get("tree"), list | dict):
            name = clean_name(value.get("name") or name)
            value = value["tree"]
    found: list[tuple[int, str, str, str, str]] = []
    _walk(value, 0, found)
    return _built(found, name)


def adopt(log: LabelLog, tree: ClassTree) -> int:
    """Add the classes of ``tree`` that ``log`` lacks, as one event; returns how many.

    Raises:
        LabelError: there are more classes than ids left.
    """
    known = {c.name.casefold() for c in log.classes}
    new: list[LabelClass] = []
    for node in tree.nodes:
        if node.name.casefold() not in known:
            class_id = len(new) + 1
            color = node.color or color_for(node.name, [*log.classes, *new], class_id)
            new.append(LabelClass(class_id, node.name, color, node.code))
    if new:
        log.import_labels(new, [])
    return len(new)


def joined(tree: ClassTree, classes: Iterable[LabelClass]) -> list[LabelClass]:
    """Classes, and those of ``tree`` that are missing among them, with free ids.

    Raises:
        LabelError: no class is in the tree, or there are more classes than ids.
    """
    result = list(classes)
    if not tree.class_ids(result):
        raise LabelError(f"No class of the labels is in the tree {tree.name}; their names have to be the same.")
    taken, known = {c.id for c in result}, {c.name.casefold() for c in result}
    free = iter(i for i in range(1, MAX_CLASS_ID + 1) if i not in taken)
    for node in tree.nodes:
        if node.name.casefold() in known:
            continue
        class_id = next(free, 0)
        if not class_id:
            raise LabelError(f"Labels and tree have more classes than a map holds ({MAX_CLASS_ID}); take some out.")
        result.append(LabelClass(class_id, node.name, node.color or color_for(node.name, result, class_id), node.code))
    return result


def read_tree(path: str | Path) -> ClassTree:
    """The tree in a file of indented lines or JSON, see :func:`parse_tree`.

    Raises:
        LabelError: it cannot be read, or holds no tree.
    """
    path = Path(path)
    data = read_bytes(path, LabelError)
    try:
        return parse_tree(data.decode("utf-8"), path.stem)
    except UnicodeDecodeError as error:
        raise LabelError(f"The class tree {path} cannot be read; give a text or JSON file.") from error


def _lines(text: str) -> list[tuple[int, str, str, str, str]]:
    """``(depth, name, code, color, where)`` of each line that is not empty."""
    raw = []
    for number, line in enumerate(text.splitlines(), 1):
        expanded = line.expandtabs(TAB_WIDTH)
        content = _BULLET.sub("", expanded.strip())
        if content and not (content.startswith("#") and not _COLOR.search(" " + content)):
            raw.append((len(expanded) - len(expanded.lstrip()), content, f"line {number}"))
    letters = sum(bool((m := _CODE.match(content)) and m["code"]) for _, content, _ in raw) > len(raw) / 2
    result: list[tuple[int, str, str, str, str]] = []
    stack: list[int] = []
    for indent, content, where in raw:
        while stack and indent < stack[-1]:
            stack.pop()
        if not stack or indent > stack[-1]:
            if not stack and result:
                raise LabelError(
                    f"In {where} ({content!r}) the text is indented less than the first class; align them."
                )
            stack.append(indent)
        found = _COLOR.search(content)
        color = found[1].lower() if found else ""
        content = content[: found.start()] if found else content
        match = _CODE.match(content)
        coded = match is not None and match["code"] and (letters or any(c.isdigit() for c in match["code"]))
        code, title = (match["code"], match["name"]) if match and coded else ("", content)
        result.append((len(stack) - 1, title, code, color, where))
    return result


def _walk(value: Any, depth: int, found: list[tuple[int, str, str, str, str]]) -> None:
    """Collect ``(depth, name, code, color, where)`` from nested JSON."""
    if depth > MAX_DEPTH:
        raise LabelError(f"The class tree has more than {MAX_DEPTH} levels; take some out.")
    where = f"after {found[-1][1]!r}" if found else "at the start"
    if value is None:
        return
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        found.append((depth, str(value), "", "", where))
    elif isinstance(value, list):
        for item in value:
            _walk(item, depth, found)
    elif isinstance(value, dict) and ("name" in value or "code" in value):
        code, name = str(value.get("code") or ""), str(value.get("name") or value.get("code") or "")
        found.append((depth, name, code if "name" in value else "", str(value.get("color") or ""), where))
        _walk(value.get("children"), depth + 1, found)
    elif isinstance(value, dict):
        for key, below in value.items():
            found.append((depth, str(key), "", "", where))
            _walk(below, depth + 1, found)
    else:
        raise LabelError(f"The class tree holds something that is no class {where}: {str(value)[:40]!r}.")


def _built(found: list[tuple[int, str, str, str, str]], name: str) -> ClassTree:
    """Check what was read and link each node to the one above."""
    if not found:
        raise LabelError(
            "There are no classes in the text. Write one class a line, and indent what belongs beneath it."
        )
    if len(found) > MAX_CLASS_ID:
        raise LabelError(f"The text has {len(found)} classes, a project holds {MAX_CLASS_ID}; take some out.")
    nodes: list[TreeNode] = []
    stack: list[int] = []
    for depth, raw, code, color, where in found:
        title = clean_name(raw)
        if not title:
            raise LabelError(f"The class {where} has no name; type at least one letter.")
        if depth > MAX_DEPTH:
            raise LabelError(f"The class {title!r} ({where}) lies deeper than {MAX_DEPTH} levels; take some out.")
        color = color.strip().lower()
        if color and not re.fullmatch(r"#[0-9a-f]{6}", color):
            raise LabelError(f"The colour {color!r} of class {title!r} is not of the form #rrggbb.")
        del stack[depth:]
        parent = stack[-1] if stack else -1
        same = next((n for n in nodes if n.parent == parent and n.name.casefold() == title.casefold()), None)
        if same is not None:
            raise LabelError(
                f"The class {title!r} ({where}) is there twice in one place; rename or remove one of them."
            )
        nodes.append(TreeNode(title, parent, depth, clean_name(code, 20), color))
        stack.append(len(nodes) - 1)
    return ClassTree(clean_name(name), tuple(_unique(nodes)))


def _unique(nodes: list[TreeNode]) -> list[TreeNode]:
    """Names that occur in several branches ("Other") get the name above them in front, so that each names one class."""
    taken: set[str] = set()
    result: list[TreeNode] = []
    for node in nodes:
        name = node.name
        if name.casefold() in taken and node.parent >= 0:
            name = clean_name(f"{result[node.parent].name}: {name}")
        if name.casefold() in taken:
            raise LabelError(f"The class {name!r} is there twice; rename or remove one of them.")
        taken.add(name.casefold())
        result.append(replace(node, name=name))
    return result


_LAND_COVER = """
Woodland
    Broadleaved woodland
    Coniferous woodland
    Mixed woodland
    Felled or newly planted
Shrub and heath
    Scrub
    Heath
Grassland
    Hay meadow
    Grazed grassland
    Rough grassland
    Parks and lawns
Farmland
    Arable land
        Winter crops
        Spring and summer crops
        Bare or ploughed
    Orchards and vines
    Glasshouses and polytunnels
Wetland
    Bog
    Marsh and reeds
    Tidal flats
Water
    Lakes and ponds
    Rivers and canals
    Sea
Built-up land
    Buildings
    Roads and paved ground
    Solar panels
Bare ground
    Rock and scree
    Sand and gravel
    Quarries and building sites
Snow and ice
"""

_CROPS = """
Cereals
    Winter cereals
        Winter wheat
        Winter barley
        Rye and triticale
    Spring cereals
        Spring wheat
        Spring barley
        Oats
    Maize
    Rice
    Sorghum and millet
Oilseeds
    Winter rape
    Sunflower
    Soya
    Linseed
Root crops
    Sugar beet
    Potatoes
    Cassava and yams
Pulses
    Peas
    Beans
    Lentils and chickpeas
Vegetables
    Cabbages and leaf vegetables
    Onions and carrots
    Tomatoes and peppers
Fodder and grass
    Sown grass
    Permanent grass
    Clover and lucerne
Perennial crops
    Orchards
    Vineyards
    Olives
    Berries
    Coffee, tea and cocoa
    Sugar cane
    Cotton
Fallow
"""

# Our own wording; plain enough to be changed line by line.
SHIPPED: dict[str, ClassTree] = {
    name: parse_tree(text, name) for name, text in (("Land cover", _LAND_COVER), ("Crops", _CROPS))
}
