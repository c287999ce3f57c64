"""No page speaks like a paper: words that only specialists know are gone, or explained where they stand."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tessera_core.ui.help import words

# What people who do not program need not know, as it would be written. Terms of the glossary are explained where they stand.
JARGON = (
    r"cosine",
    r"[Ee]uclidean",
    r"RMSE",
    r"R2",
    r"[Mm]acro",
    r"F1",
    r"[Rr]idge",
    r"[Ll]ogistic",
    r"[Gg]radient boosting",
    r"U-?[Nn]et",
    r"[Pp]rototypes?",
    r"[Ss]oftmax",
    r"[Ll]ogits?",
    r"[Tt]emperature",
    r"[Cc]alibrat\w+",
    r"[Cc]hecksums?",
    r"int8",
    r"float32",
    r"dB",
    r"VV|VH",
    r"B(?:0[1-9]|1[0-2]|8A)",
    r"[Pp]ercentiles?",
    r"[Mm]edian",
    r"[Ss]tandard deviation",
    r"JSON",
    r"\.?npy",
    r"safetensors",
    r"[Dd]rift",
    r"[Bb]locks?",
    r"[Hh]eads?",
    r"\d-d",
    r"px",
    r"[Rr]aster",
    r"[Hh]ash",
    r"[Ll]atent|[Vv]ectors?",
    r"PCA|UMAP|NDVI|EPSG|CRS",
)
# Names in programs, alone: bands and polarisations as keys.
_KEYS = re.compile(r"B\d[\dA]|VV|VH")
_WORDS = re.compile(rf"(?<![\w.-])(?:{'|'.join(JARGON)})(?![\w-])")
_BRACKETS = re.compile(r"\([^()]*\)")
_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`')


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """What a module may put on the screen: its strings with a space or a capital in them, docstrings left out."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".js":
        for number, line in enumerate(source.splitlines(), start=1):
            if not line.lstrip().startswith(("//", "*", "/*", "import", "export")):
                yield from ((number, a or b) for a, b in _STRING.findall(line.partition(" // ")[0]))
        return
    tree = ast.parse(source)
    docs = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def shown(text: str) -> bool:
    """Whether a string is for people; names in programs and the style of a page are not."""
    if _KEYS.fullmatch(text):
        return False
    return bool(re.search(r"[a-z] [a-z]|^[A-Z][a-z]+|^[A-Z]\w*$| ", text)) and not re.search(
        r"[{};]|^\W*<|var\(|--|^[a-z_]+:", text
    )


def bare(root: Path) -> list[str]:
    """Places where such a word stands."""
    found = []
    known = {form.casefold() for term in words.terms().values() for form in (term.name, *term.also)}
    for path in sorted([*(root / "tessera_core/ui").rglob("*.py"), *(root / "tessera_core/ui").rglob("*.js")]):
        for line, text in texts(path):
            if not shown(text):
                continue
            # Small print: the specialists' word, or a format, in brackets after a plain one.
            for word in _WORDS.findall(_BRACKETS.sub("", text)):
                if word.casefold() not in known:
                    found.append(f"{path.relative_to(root)}:{line}: {word!r} in {text[:110]!r}")
    return found


def test_a_bare_word_would_be_found(tmp_path: Path) -> None:
    folder = tmp_path / "tessera_core" / "ui"
    folder.mkdir(parents=True)
    (folder / "page.py").write_text('"""The RMSE."""\nst.metric("RMSE", 1)\nst.metric("Typical error (RMSE)", 1)\n')
    (folder / "page.js").write_text('// the RMSE of it\nel("p", {}, "The cosine is high");\n')
    assert [line.partition(": ")[0] for line in bare(tmp_path)] == [
        "tessera_core/ui/page.js:2",
        "tessera_core/ui/page.py:2",
    ]


def test_no_word_of_specialists_stands_on_a_page_unexplained(root: Path) -> None:
    assert bare(root) == []
