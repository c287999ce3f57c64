"""What our map and scatter components share: linking their JavaScript into the page, and the modules that several use.

Components of Streamlit 1.67's second kind, registered inline (no build step, no CDN, nothing to install). Each package has a
*loader*, which carries its code once per session and never changes, and a *mount* of a few lines that hands every message
over; both meet at a hub, a global object of the page.
"""

from __future__ import annotations

import base64
import gzip
import json
import posixpath
import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import streamlit as st

from tessera_core.language import later, phrases, t
from tessera_core.render.leaflet import leaflet_script, leaflet_style

ROOM = __package__.rpartition(".")[0]  # where the components lie, each with its folder ``assets``
_FAILED = later(
    "This part of the page could not be loaded. Load the page again; if that does not help, use a newer browser."
)
_IMPORT = re.compile(r"""^((?:import|export)\b(?:[^"';]*\bfrom)? )"(\.[^"]+\.js)";""", re.MULTILINE)
# Whole lines of types and explanations, for people and the type checker: a seventh of the code, which nobody's browser needs.
_SAID = re.compile(r'(?<![\w.])t\(\s*"((?:[^"\\]|\\.)*)"')
_COUNTED = re.compile(r'(?<![\w.])tn\(\s*"((?:[^"\\]|\\.)*)",\s*"((?:[^"\\]|\\.)*)"')
_LINK = re.compile(r"^import\b[^;]*;$", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function|class|const|function|let)\b)", re.MULTILINE)
_TYPES = re.compile(r"^[ \t]*/\*\*(?:(?!\*/).)*\*/[ \t]*\n", re.MULTILINE | re.DOTALL)


@cache
def loader(hub: str, main: str, css: tuple[str, ...], language: str, leaflet: bool = True) -> str:
    """The code of a component that links its modules and style sheets into the page, for :func:`load`.

    Args:
        hub: name of the global object where loader and mounts meet.
        main: the module that exports ``start(hub, css)``, such as ``label_map/assets/main.js``; what it imports is found by
            following its import statements.
        css: paths of style sheets, after Leaflet's.
        language: the one that is spoken, whose sentences go along.
        leaflet: whether the modules want it, as the global ``L``.
    """
    sheets = [leaflet_style()] if leaflet else []
    assets = {
        "leaflet": leaflet_script() if leaflet else "",
        "modules": list(linked(main).items()),
        "css": sheets + [asset(path) for path in css],
        "language": {"locale": language, "words": phrases(*sentences(main))},
    }
    # Without a date, so that the same code has the same bytes in every process.
    packed = base64.b64encode(gzip.compress(json.dumps(assets).encode(), mtime=0)).decode()
    script = asset("shared/assets/boot.js").replace("__HUB__", hub).replace("__ASSETS__", packed)
    return script.replace('"__FAILED__"', json.dumps(t(_FAILED)))


def linked(main: str) -> dict[str, str]:
    """Module -> its code, imports by path from this room, without types; each after those that it imports, ``main`` last.

    Raises:
        ValueError: modules import each other in a circle, which object URLs cannot express.
    """
    done: dict[str, str] = {}
    under_way: list[str] = []

    def visit(path: str) -> None:
        if path in under_way:
            raise ValueError(f"JavaScript modules import each other: {' -> '.join([*under_way, path])}")
        if path in done:
            return
        under_way.append(path)

        def link(found: re.Match[str]) -> str:
            other = posixpath.normpath(posixpath.join(posixpath.dirname(path), found[2]))
            visit(other)
            return f'{found[1]}"{other}";'

        text = _IMPORT.sub(link, _TYPES.sub("", asset(path)))
        under_way.pop()
        done[path] = text

    visit(main)
    return done


@cache
def joined(main: str) -> str:
    """``main`` and what it imports as one module, for a component without a loader; no two may use one name at their top."""
    *others, last = linked(main).values()
    return "\n".join([*(_EXPORT.sub("", _LINK.sub("", code)) for code in others), _LINK.sub("", last)])


@cache
def sentences(main: str) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """What the modules of ``main`` say: sentences, and those about one thing or many."""
    code = "\n".join(linked(main).values())
    said = tuple(dict.fromkeys(_read(found[1]) for found in _SAID.finditer(code)))
    return said, tuple(dict.fromkeys((_read(found[1]), _read(found[2])) for found in _COUNTED.finditer(code)))


def _read(literal: str) -> str:
    return str(json.loads(f'"{literal}"'))


def load(name: str, script: str) -> None:
    """Bring a loader's code into the page; once per page run, outside every fragment."""
    register(name, script)(key=name, height=1)


def mount(name: str, hub: str) -> Callable[..., Any]:
    """The component that hands its messages to the code of ``hub``."""
    return register(name, asset("shared/assets/mount.js").replace("__HUB__", hub))


@cache
def register(name: str, js: str) -> Callable[..., Any]:
    """A component of that name and code."""
    return st.components.v2.component(name, js=js)


@cache
def asset(path: str) -> str:
    """Text of a file of a component, such as ``label_map/assets/main.js``."""
    return files(ROOM).joinpath(path).read_text(encoding="utf-8")
