"""Keep the catalogues of the languages: ``make words``, or ``python tools/words.py [--check] [--todo FOLDER] [--take FOLDER]``.

Reads what people are told out of the code, writes it into ``<language>.<domain>.po`` (what was translated before is kept; what
nobody says any more goes), and compiles these to the ``.mo`` that the package reads. ``numbers.json`` tells which values of the
sentences of ``core`` are numbers by the code that puts them in.

    studio   ``t("…")``, ``tn("…", "…", n)``, ``later("…")`` in Python and JavaScript, heads of tables, the glossary
    core     sentences of the rooms below the pages: what they raise, and what they say in whole sentences

``--todo`` writes what is not translated yet as JSON lists, ``--take`` reads translations from such: {English: translation},
or {English: [one, many]} for sentences about one thing or many. ``--check`` changes nothing and says whether something would.
"""

from __future__ import annotations

import argparse
import ast
import copy
import itertools
import json
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tessera_core"
FOLDER = PACKAGE / "language" / "catalogues"
LANGUAGES = ("de", "es", "fr", "pt")
DOMAINS = ("studio", "core")
# Rooms whose sentences no page shows: the command line stays English.
SILENT = {"cli", "bench", "pretrain", "language", "ui"}
_JS = re.compile(
    r'(?<![\w.])(tn?)\(\s*"((?:[^"\\]|\\.)*)"(?:,\s*"((?:[^"\\]|\\.)*)")?',
)
# It may begin with a number or a name.
_SENTENCE = re.compile(r"(?:[A-Z“(]|\{\w+\}).*\w.* .*[.!?…]$", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]{2,}")
# Of one sentence.
_MOST_WAYS = 8
_WORDS = re.compile(r"[A-Za-z]{2,}\W+[a-z]{2,}")
# Stands behind a value that is a number by the way it is put in, until a sentence is done.
_IS_NUMBER = "\ue000"
# Formats of numbers, such as ``,.1f``.
_NUMERIC = re.compile(r"[+-]?\d*,?(?:\.\d*)?[deEfFgGn%]|,")
# What counts and reckons.
_RECKON = {"len", "round", "int", "float", "abs", "sum"}
# What writes a number for people, under the names by which modules know it.
_WRITERS = {
    "percent",
    "_percent",
    "as_percent",
    "in_percent",
    "whole_percent",
    "percentage",
    "amount",
    "_far",
    "_points",
}
type Message = str | tuple[str, str]
type Found = dict[Message, str]


def studio(misfits: list[str] | None = None) -> Found:
    """Sentences of pages and components -> where they stand first.

    Args:
        misfits: gets a line for each sentence whose values are not those that it names.
    """
    found: Found = {}
    for path in _python():
        tree, where = ast.parse(path.read_text(encoding="utf-8")), path.relative_to(ROOT).as_posix()
        heads = any(isinstance(node, ast.Attribute) and node.attr in ("show", "facts") for node in ast.walk(tree))
        for node in ast.walk(tree):
            for message in _called(node):
                found.setdefault(message, where)
            if misfits is not None and (names := _misfit(node)):
                misfits.append(f"{where}:{node.lineno}: {', '.join(sorted(names))}")  # type: ignore[attr-defined]
            if heads and path.is_relative_to(PACKAGE / "ui"):
                for head in _heads(node):
                    found.setdefault(head, where)
    for path in sorted((PACKAGE / "ui" / "components").rglob("*.js")):
        for name, one, many in _JS.findall(path.read_text(encoding="utf-8")):
            said = tuple(str(json.loads(f'"{text}"')) for text in (one, many) if text)
            found.setdefault((said[0], said[1]) if name == "tn" else said[0], path.relative_to(ROOT).as_posix())
    glossary = PACKAGE / "ui" / "help" / "glossary.toml"
    for name, term in tomllib.loads(glossary.read_text(encoding="utf-8")).items():
        for text in (name, term["short"], term["long"], *term.get("also", ())):
            found.setdefault(text, glossary.relative_to(ROOT).as_posix())
    return found


def core() -> Found:
    """Sentences of the rooms below the pages, with ``{name}`` for values -> where they stand first."""
    found: Found = {}
    for text, where in _of_rooms():
        found.setdefault(text.replace(_IS_NUMBER, ""), where)
    return found


def numbers() -> dict[str, list[str]]:
    """Sentences of the rooms below the pages -> those of their values that are numbers, wherever the sentence is said."""
    found: dict[str, set[str]] = {}
    for text, _ in _of_rooms():
        message, named = text.replace(_IS_NUMBER, ""), _named_numbers(text)
        found[message] = found[message] & named if message in found else named
    return {message: sorted(names) for message, names in sorted(found.items()) if names}


@cache
def _of_rooms() -> list[tuple[str, str]]:
    """Every sentence of the rooms below the pages, numbers marked, and where it stands."""
    return [
        (text, path.relative_to(ROOT).as_posix())
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in SILENT
        for text in _marked(ast.parse(path.read_text(encoding="utf-8")))
    ]


def _named_numbers(text: str) -> set[str]:
    every, numeric = re.findall(r"\{(\w+)\}", text), re.findall(rf"\{{(\w+)\}}{_IS_NUMBER}", text)
    return {name for name in numeric if every.count(name) == numeric.count(name)}


def sentences(tree: ast.Module) -> Iterator[str]:
    """Sentences of one module of the rooms below the pages, each way of what they decide themselves."""
    yield from (text.replace(_IS_NUMBER, "") for text in _marked(tree))


def _marked(tree: ast.Module) -> Iterator[str]:
    """The same, numbers marked."""
    silent, local = _silent(tree), _locals(tree)
    for node in ast.walk(tree):
        if node in silent or not isinstance(node, ast.Constant | ast.JoinedStr):
            continue
        for text in _templates(node, local.get(node, _NOTHING)):
            if _SENTENCE.match(text) or (node in _raised(tree) and _WORDS.search(text)):
                yield text


def _python() -> Iterator[Path]:
    yield from sorted(PACKAGE.rglob("*.py"))
    yield from sorted((ROOT / "pages").glob("*.py"))
    yield ROOT / "app.py"


def _called(node: ast.AST) -> Iterator[Message]:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return
    texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    if node.func.id in ("t", "later") and texts:
        yield texts[0]
    elif node.func.id == "tn" and len(texts) >= 2:
        yield texts[0], texts[1]


def _misfit(node: ast.AST) -> set[str]:
    """Names of values that a sentence lacks or gets for nothing where it is said."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in ("t", "tn"):
        return set()
    given = {one.arg for one in node.keywords}
    if None in given or not any(_called(node)):
        return set()
    texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    named = {name for text in texts for name in re.findall(r"(?<!\{)\{(\w+)\}", text)}
    return (named ^ {name for name in given if name}) - ({"n"} if node.func.id == "tn" else set())


def _heads(node: ast.AST) -> Iterator[str]:
    keys = node.keys if isinstance(node, ast.Dict) else [node.slice] if isinstance(node, ast.Subscript) else []
    for key in keys:
        if isinstance(key, ast.Constant) and isinstance(key.value, str) and re.match(r"[A-Z][a-z]", key.value):
            yield key.value


_RAISED: dict[int, set[ast.AST]] = {}


def _raised(tree: ast.Module) -> set[ast.AST]:
    """First arguments of errors, and what these are joined of."""
    if id(tree) not in _RAISED:
        _RAISED.clear()
        _RAISED[id(tree)] = {
            node.args[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and node.args and re.search(r"(Error|Cancelled)$", ast.unparse(node.func))
        }
    return _RAISED[id(tree)]


def _silent(tree: ast.Module) -> set[ast.AST]:
    """Docstrings, parts of f-strings, and what goes into a log."""
    out: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            out.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            out.update(child for child in ast.walk(node) if child is not node)
        elif isinstance(node, ast.Call) and re.match(r"(log|logging|parser|warnings)\b|re\.", ast.unparse(node.func)):
            out.update(ast.walk(node))
    return out


@dataclass(frozen=True)
class _Known:
    """What may stand for a value of an f-string: what its function gave a name once, and what the module's functions return.

    Attributes:
        names: name -> its one value.
        functions: name -> its parameters and the values that it can return, where these are text.
        inside: name of such a function -> its own ``values``.
        values: as ``names``, and of what was given its name together with others.
        numeric: names that are declared to be numbers.
    """

    names: Mapping[str, ast.expr]
    functions: Mapping[str, tuple[list[str], list[ast.expr]]]
    inside: Mapping[str, Mapping[str, ast.expr]]
    values: Mapping[str, ast.expr]
    numeric: frozenset[str]

    def only_functions(self) -> _Known:
        """Without the names, which one value of a name may not be looked up in again."""
        return replace(self, names={})

    def without_values(self) -> _Known:
        """The same for whether it is a number."""
        return replace(self, values={})

    def within(self, function: str) -> _Known:
        """The same for what a function returns, with the values that it gave its own names."""
        return replace(self, values={**self.values, **self.inside.get(function, {})})


_NOTHING = _Known({}, {}, {}, {}, frozenset())


def _locals(tree: ast.Module) -> dict[ast.AST, _Known]:
    """Of each f-string what is known of its values."""
    found: dict[ast.AST, _Known] = {}
    functions, declared = _texts_of_functions(tree), _declared(tree)
    inside = {
        one.name: _given_together(one) | _given_once(one)
        for one in ast.walk(tree)
        if isinstance(one, ast.FunctionDef) and one.name in functions
    }
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        names = _given_once(function)
        given = {one.arg for one in ast.walk(function.args) if isinstance(one, ast.arg) and _counts(one.annotation)}
        known = _Known(names, functions, inside, {**_given_together(function), **names}, declared | given)
        for node in ast.walk(function):
            if isinstance(node, ast.JoinedStr):
                found[node] = known
    return found


def _given_once(function: ast.FunctionDef) -> dict[str, ast.expr]:
    given: dict[str, list[ast.expr]] = {}
    stores: Counter[str] = Counter()
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            stores[node.id] += 1
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            given.setdefault(node.targets[0].id, []).append(node.value)
    return {name: values[0] for name, values in given.items() if len(values) == stores[name] == 1}


def _given_together(function: ast.FunctionDef) -> dict[str, ast.expr]:
    """What stands for names that are given once, several at a time."""
    given: dict[str, ast.expr] = {}
    stores = Counter(n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Tuple):
            continue
        targets, value = node.targets[0].elts, node.value
        values = (
            value.elts
            if isinstance(value, ast.Tuple)
            else [value.elt] * len(targets)
            if isinstance(value, ast.GeneratorExp)
            else []
        )
        pairs = zip(targets, values, strict=False)
        given |= {name.id: one for name, one in pairs if isinstance(name, ast.Name) and stores[name.id] == 1}
    return given


def _declared(tree: ast.Module) -> frozenset[str]:
    """What a module declares to be a number: its constants, and what its classes have."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            own = (one for one in node.body if isinstance(one, ast.AnnAssign) and _counts(one.annotation))
            found |= {f"self.{ast.unparse(one.target)}" for one in own}
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant | ast.BinOp)
            and _is_number(node.value, _NOTHING)
        ):
            found |= {name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return frozenset(found)


def _counts(annotation: ast.expr | None) -> bool:
    return annotation is not None and bool(re.fullmatch(r"(int|float)( \| None)?", ast.unparse(annotation)))


def _texts_of_functions(tree: ast.Module) -> dict[str, tuple[list[str], list[ast.expr]]]:
    """Functions of a module that return nothing but text they write themselves, by name."""
    found: dict[str, tuple[list[str], list[ast.expr]]] = {}
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef) or (function.returns and ast.unparse(function.returns) != "str"):
            continue
        returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value]
        if returned and all(isinstance(one, ast.JoinedStr | ast.Constant | ast.IfExp) for one in returned):
            names = [arg.arg for arg in function.args.args if arg.arg != "self"]
            found[function.name] = names, returned
    return found


class _PutIn(ast.NodeTransformer):
    """What a function was called with, in place of its parameters."""

    def __init__(self, given: Mapping[str, ast.expr]) -> None:
        self.given = given

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """A parameter becomes what was given for it."""
        return self.given.get(node.id, node)


def _templates(node: ast.AST, known: _Known) -> list[str]:
    """The texts that a constant or f-string can be, ``{name}`` for values; each way of what it decides itself.

    Args:
        node: the constant or f-string.
        known: of its values.
    """
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) and "{" not in node.value else []
    assert isinstance(node, ast.JoinedStr)
    parts = _parts_of(node, {}, known)
    if len(parts) > 40:
        return []
    if _ways(parts) > _MOST_WAYS:
        # Words that are put in stay English then, but the sentence around them is found.
        parts = [each if len(each) == 1 or "{" not in "".join(each) else each[:1] for each in parts]
    return [] if _ways(parts) > _MOST_WAYS else list(dict.fromkeys("".join(way) for way in itertools.product(*parts)))


def _parts_of(node: ast.JoinedStr, names: dict[str, str], known: _Known) -> list[list[str]]:
    """What stands one after the other in an f-string, each in the ways that it can be; the value itself first where that is one."""
    parts: list[list[str]] = []
    for value in node.values:
        if isinstance(value, ast.FormattedValue):
            put_in, value = value, value.value
            if not isinstance(value, ast.Constant):
                parts.append(_choices(value, names, known) or [_place(value, names, known, put_in)])
                continue
        assert isinstance(value, ast.Constant)
        parts.append([_escaped(str(value.value))])
    return parts


def _place(node: ast.expr, names: dict[str, str], known: _Known, put_in: ast.expr | None = None) -> str:
    """The place of a value in a sentence, marked where the value is a number by the way it is put in."""
    return "{" + _name(node, names) + "}" + (_IS_NUMBER if _is_number(put_in or node, known) else "")


def _is_number(node: ast.expr, known: _Known) -> bool:
    """Whether a value is a number, or the text of one, by the code that makes it; a name that looks like one is none."""
    if isinstance(node, ast.FormattedValue):
        spec = node.format_spec
        parts = spec.values if isinstance(spec, ast.JoinedStr) else []
        form = "".join(str(one.value) if isinstance(one, ast.Constant) else "0" for one in parts)
        return bool(_NUMERIC.fullmatch(form)) if form else _is_number(node.value, known)
    if isinstance(node, ast.JoinedStr):
        # A unit may stand behind it.
        first = next(iter(node.values), None)
        return isinstance(first, ast.FormattedValue) and _is_number(first, known)
    if isinstance(node, ast.Name | ast.Attribute):
        value = known.values.get(ast.unparse(node))
        return ast.unparse(node) in known.numeric or (value is not None and _is_number(value, known.without_values()))
    if isinstance(node, ast.IfExp | ast.BoolOp):
        return _all_numbers([node.body, node.orelse] if isinstance(node, ast.IfExp) else node.values, known)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Sub | ast.Mult | ast.Div | ast.FloorDiv | ast.Pow)
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        returned = known.functions.get(called.removeprefix("self."), ([], []))[1]
        writes = called in _RECKON or called.rpartition(".")[2] in _WRITERS
        return writes or (bool(returned) and _all_numbers(returned, known.without_values()))
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def _all_numbers(nodes: list[ast.expr], known: _Known) -> bool:
    """Whether all are, but for words that stand in the place of one."""
    values = [one for one in nodes if not (isinstance(one, ast.Constant) and isinstance(one.value, str))]
    return bool(values) and all(_is_number(one, known) for one in values)


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _ways(parts: list[list[str]]) -> int:
    count = 1
    for part in parts:
        count *= len(part)
    return count


def _choices(node: ast.expr, names: dict[str, str], known: _Known) -> list[str]:
    """The ways of a value that a sentence decides itself, so that each is a whole sentence; nothing where it decides nothing.

    ``"a" if x else "b"``, one of these being text with values in it, ``x or "none"``, a text under a name, and a call of a
    function of the module that does nothing but write such.
    """
    if isinstance(node, ast.Name) and (value := known.names.get(node.id)) is not None:
        if isinstance(value, ast.IfExp | ast.BoolOp):
            # Under the name by which it is put in.
            names.setdefault(ast.unparse(value), _name(node, names))
            return _choices(value, names, known.only_functions())
        tried = dict(names)
        texts = _way(value, tried, known.only_functions())
        if not any(" " in text.strip() for text in texts):
            # A name of something, and no part of the sentence.
            return []
        names.update(tried)
        return texts
    if isinstance(node, ast.IfExp):
        ways = [_way(one, names, known) for one in (node.body, node.orelse)]
        if not any(ways):
            return []
        texts = [text for way in ways for text in way]
        return texts if all(ways) else [_place(node, names, known), *texts]
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or) and (last := _way(node.values[-1], names, known)):
        return [_place(node, names, known), *last]
    if isinstance(node, ast.Call) and not node.keywords:
        name = ast.unparse(node.func).removeprefix("self.")
        parameters, returned = known.functions.get(name, ([], []))
        if returned and len(parameters) == len(node.args):
            put_in = _PutIn(dict(zip(parameters, node.args, strict=True)))
            tried, its = dict(names), known.within(name)
            ways = [
                _choices(one, tried, its) or _way(one, tried, its)
                for one in (put_in.visit(copy.deepcopy(each)) for each in returned)
            ]
            texts = [text for way in ways for text in way]
            if any(map(_worded, texts)):
                names.update(tried)
                return texts if all(ways) else [_place(node, names, known), *texts]
    return []


def _way(node: ast.expr, names: dict[str, str], known: _Known) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [_escaped(node.value)]
    if isinstance(node, ast.JoinedStr):
        tried = dict(names)
        ways = ["".join(way) for way in itertools.product(*_parts_of(node, tried, known))]
        if any(map(_worded, ways)):
            names.update(tried)
            return ways
    return []


def _worded(text: str) -> bool:
    """Whether there is more in it than values."""
    return _WORD.search(re.sub(r"\{\w+\}", "", text)) is not None


def _name(node: ast.expr, names: dict[str, str]) -> str:
    """A name for a value in a sentence, the same for the same value."""
    code = ast.unparse(node)
    if code not in names:
        words = [word for word in re.findall(r"[A-Za-z]\w*", code) if word not in ("self", "len", "str", "repr", "f")]
        name = base = (words[-1] if re.fullmatch(r"[\w.]+", code) and words else words[0] if words else "value").lower()
        number = 2
        while name in names.values():
            name, number = f"{base}{number}", number + 1
        names[code] = name
    return names[code]


# ------------------------------------------------------------------ files


def merged(language: str, domain: str, found: Found) -> Catalog:
    """The catalogue with exactly the messages that are said, translated as before where they were."""
    path = FOLDER / f"{language}.{domain}.po"
    old = Catalog(locale=language)
    if path.exists():
        with path.open("rb") as file:
            old = read_po(file, locale=language)
    made = _empty(language)
    for message, where in sorted(found.items(), key=lambda one: (one[1], _english(one[0]))):
        known = old.get(_english(message))
        said = known.string if known is not None and isinstance(known.id, str) == isinstance(message, str) else None
        empty: str | tuple[str, str] = "" if isinstance(message, str) else ("", "")
        # Babel would take a % for a place of Python's older formats.
        made.add(message, said or empty, locations=[(where, None)]).flags.discard("python-format")  # type: ignore[list-item]
    return made


def _empty(language: str) -> Catalog:
    # One date for ever: the same code gives the same bytes.
    then = datetime(2026, 1, 1, tzinfo=UTC)
    made = Catalog(
        locale=language, project="Tessera Studio", fuzzy=False, charset="utf-8", creation_date=then, revision_date=then
    )
    # Of numbers of things; the third form of some languages is for millions, which nobody has labels of.
    made._num_plurals, made._plural_expr = 2, "(n > 1)" if language in ("fr", "pt") else "(n != 1)"
    return made


def _english(message: Message) -> str:
    return message if isinstance(message, str) else message[0]


def po(catalog: Catalog) -> bytes:
    """The catalogue as text."""
    buffer = BytesIO()
    write_po(buffer, catalog, width=120, omit_header=False, sort_by_file=False, include_lineno=False)
    head = [
        line for line in buffer.getvalue().splitlines() if not re.match(rb"# (Copyright|FIRST|This file|.*EMAIL)", line)
    ]
    return b"\n".join(head) + b"\n"


def mo(catalog: Catalog) -> bytes:
    """The catalogue as the package reads it; a message without a translation says the English."""
    full = _empty(str(catalog.locale))
    for message in catalog:
        if message.id:
            said = message.string if all(_parts(message.string)) else message.id
            full.add(message.id, said)
    buffer = BytesIO()
    write_mo(buffer, full)
    return buffer.getvalue()


def _parts(said: object) -> tuple[str, ...]:
    return said if isinstance(said, tuple) else (str(said),)


def missing(catalog: Catalog) -> list[Message]:
    """What is not translated."""
    return [message.id for message in catalog if message.id and not all(_parts(message.string))]  # type: ignore[misc]


def wrong(message: Message, said: object) -> str:
    """What is wrong with a translation: values lost, or the marks that a page reads; nothing where it is sound."""
    ways = [message] if isinstance(message, str) else list(message)
    for english, text in zip(ways, _parts(said), strict=False):
        for pattern in (r"(?<!\{)\{\w*\}(?!\})", r":material/\w+:", r"\*\*"):
            ours, theirs = (sorted(re.findall(pattern, one)) for one in (english, text))
            # The one of a plural may leave its number out.
            if ours != theirs and not (
                pattern.startswith("(") and set(ours) - set(theirs) <= {"{n}"} and len(ways) > 1
            ):
                return f"{english!r}: {ours} became {theirs}"
        if english[:1].isspace() != text[:1].isspace() or english[-1:].isspace() != text[-1:].isspace():
            return f"{english!r}: a blank at an end was lost"
    return ""


def take(catalog: Catalog, translations: dict[str, object]) -> list[str]:
    """Put translations into a catalogue; what was refused, and why."""
    refused = []
    for message in catalog:
        if not message.id:
            continue
        said = translations.get(_english(message.id))  # type: ignore[arg-type]
        if said is None:
            continue
        said = tuple(said) if isinstance(said, list) else said
        if isinstance(message.id, str) != isinstance(said, str):
            refused.append(f"{message.id!r}: one text or two?")
        elif problem := wrong(message.id, said):  # type: ignore[arg-type]
            refused.append(problem)
        else:
            message.string = said  # type: ignore[assignment]
    return refused


def kept(path: Path, content: bytes, check: bool) -> bool:
    """Whether a file was not what it should be; it is then written, but for a check."""
    if path.exists() and path.read_bytes() == content:
        return False
    if not check:
        path.write_bytes(content)
    return True


def main() -> int:
    """Run the tool; 1 where something is to be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--todo", type=Path)
    parser.add_argument("--take", type=Path)
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    stale, open_ = 0, 0
    misfits: list[str] = []
    for domain, found in (("studio", studio(misfits)), ("core", core())):
        for language in LANGUAGES:
            catalog = merged(language, domain, found)
            if options.take:
                for file in sorted(options.take.glob(f"{language}*.json")):
                    for problem in take(catalog, json.loads(file.read_text(encoding="utf-8"))):
                        print(f"{language}: refused: {problem}")
            todo = missing(catalog)
            open_ += len(todo)
            if todo:
                print(f"{language}.{domain}: {len(todo)} of {len(found)} are not translated")
            if options.todo:
                options.todo.mkdir(parents=True, exist_ok=True)
                (options.todo / f"{language}.{domain}.json").write_text(
                    json.dumps(todo, ensure_ascii=False, indent=0), encoding="utf-8"
                )
            for ending, content in (("po", po(catalog)), ("mo", mo(catalog))):
                stale += kept(FOLDER / f"{language}.{domain}.{ending}", content, options.check)
    stale += kept(
        FOLDER / "numbers.json", (json.dumps(numbers(), ensure_ascii=False, indent=0) + "\n").encode(), options.check
    )
    for line in misfits:
        print(f"values that the sentence does not name, or names and does not get: {line}")
    if options.check and stale:
        print(f"{stale} catalogues are not what the code says; run make words")
    return int(bool(misfits or (options.check and (stale or open_))))


if __name__ == "__main__":
    sys.exit(main())
