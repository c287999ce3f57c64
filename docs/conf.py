"""The documentation site: Markdown pages and docstrings to HTML that asks nobody for anything. `make docs` builds it."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import tessera_core  # noqa: E402

project = "Tessera Studio"
author = "The Tessera Studio developers"
copyright = "The Tessera Studio developers. MIT licence"
version = release = tessera_core.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["site"]
nitpicky = False

# Addresses within the repository (files, folders) are no pages; the pages' own links are still checked.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
# Decisions and facts are reached from their own tables.
suppress_warnings = ["myst.xref_missing", "toc.not_included"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
# scikit-learn adds methods of its own to every estimator, with references to its own manual.
autodoc_default_options = {
    "members": True,
    "exclude-members": "set_fit_request, set_score_request, set_predict_request, set_predict_proba_request",
}
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# A field that is both told of in the text and found in the class stands once.
napoleon_use_ivar = True

html_theme = "furo"
html_title = "Tessera Studio"
html_static_path: list[str] = []
html_copy_source = False
html_show_sourcelink = False
# Letters of the reader's own system: nothing is fetched.
html_theme_options = {
    "light_css_variables": {"font-stack": "system-ui, sans-serif", "font-stack--monospace": "ui-monospace, monospace"}
}


def write_commands(app: object) -> None:
    """Each command's own help as a page; not kept in the repository."""
    from tessera_core.cli import COMMANDS, command_module, command_parser

    parts = ["# Commands\n"]
    for name in COMMANDS:
        parts.append(
            f"## {name}\n\n```text\n{command_parser(name, command_module(name)).format_help().rstrip()}\n```\n"
        )
    page = Path(__file__).parent / "reference" / "command-line.md"
    text = "\n".join(parts)
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")


def setup(app: object) -> None:
    """What Sphinx calls."""
    app.connect("builder-inited", write_commands)  # type: ignore[attr-defined]
