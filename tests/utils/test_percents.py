"""Shares in percent: what is not all is never written as 100, what is not nothing never as 0, wherever an interval is shown."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Set
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tessera_core
from tessera_core._utils.percents import percent
from tessera_core.assess.area import AreaEstimate
from tessera_core.assess.area import _percent as sentence_of
from tessera_core.export.report.model import Estimate
from tessera_core.export.report.words import _percent as report_of
from tessera_core.export.report.words import share_text as cell_of
from tessera_core.language import using
from tessera_core.ui.validate.results import _percent as page_of


def number(text: str) -> float:
    """Of what is nearer to an end than decimals tell, halfway there."""
    return {"<0.01": 0.005, ">99.99": 99.995}.get(text) or float(text)


SHARES = st.floats(0, 1) | st.floats(0.99, 1) | st.floats(0, 0.01)


@given(SHARES, SHARES, st.integers(0, 2))
@example(0.996, 0.9996, 0)
@example(0.99949, 0.99951, 1)
@example(1 - 1e-12, 1.0, 0)
def test_a_share_is_written_as_near_as_asked_and_never_as_all_or_nothing(a: float, b: float, digits: int) -> None:
    low, high = sorted((a, b))
    for share in (low, high):
        text = percent(share, digits)
        assert abs(number(text) - 100 * share) <= 0.5 * 10**-digits + 1e-9
        if 1e-8 < share < 1 - 1e-8:
            assert 0 < number(text) < 100
        assert len(text) <= 6
    assert number(percent(low, digits)) <= number(percent(high, digits))


def test_shares_are_written_as_in_the_list_that_the_browser_is_held_to() -> None:
    both = json.loads(Path(__file__).with_name("percents.json").read_text("utf-8"))
    assert [[share, percent(share)] for share, _ in both] == both
    assert [one for one in both if one[0] in (0.625, 0.675)] == [[0.625, "62"], [0.675, "68"]]


def test_every_door_writes_an_interval_after_mistakes_alike() -> None:
    found = AreaEstimate(value=0.981, se=0.01, low=0.9, high=0.9962)
    said = Estimate(value=found.value, low=found.low, high=found.high, se=found.se)
    texts = [write(one) for write, one in ((sentence_of, found), (report_of, said), (cell_of, said), (page_of, found))]
    assert [re.findall(r"([\d.]+) to ([\d.]+)", text) for text in texts] == [[("90", "99.6")]] * 4
    with using("de"):
        assert "99,6" in cell_of(said)
        assert "99,6" in page_of(found)


def test_no_interval_is_rounded_by_hand() -> None:
    """``{100 * low:.0f}`` and ``numeral(100 * high, ".0f")`` make 100 of 99.6."""
    by_hand = re.compile(r"100 \* [\w.\[\]-]*\b(?:low|high|interval\[[01]\])(?:\[-1\])?\s*(?::|, \")\.\d")
    package = Path(tessera_core.__file__).parent
    paths = [path for path in package.rglob("*.py") if path.parts[len(package.parts)] not in ("bench", "pretrain")]
    assert [path.name for path in paths if by_hand.search(path.read_text("utf-8"))] == []
    assert by_hand.search('f"{100 * self.right.high:.0f} %"')
    assert by_hand.search('numeral(100 * interval[0], ".0f")')


# What is written without ``percent()``: differences of two shares are points, and a study's table has the digits it was asked for.
BY_HAND = {
    "assess/calibration.py": "points by which confidence is off",
    "project/stopping.py": "points",
    "project/two_maps.py": "points",
    "ui/compare/control.py": "points",
    "ui/compare/stack.py": "a likeness of codes, near 100 and read to two decimals",
    "ui/validate/which.py": "points",
    "pretrain/studies/telling.py": "points",
}
_ROUNDED = re.compile(r"[+,]*\.?\d*[f%]|[+,]*\.\d+%?")


def _by_hand(tree: ast.Module) -> Iterator[int]:
    """Lines on which a share is made percent and rounded on the spot: formatted, or by ``numeral``, ``format`` or ``round``."""
    hundreds = {
        name.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target, value in _pairs(node)
        if isinstance(name := target, ast.Name) and _of_hundred(value, set())
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FormattedValue):
            spec = node.format_spec
            parts = spec.values if isinstance(spec, ast.JoinedStr) else []
            form = "".join(str(one.value) if isinstance(one, ast.Constant) else "0" for one in parts)
            rounded = isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "round"
            value = node.value.args[0] if isinstance(node.value, ast.Call) and rounded else node.value
            if form.endswith("%") or ((rounded or _ROUNDED.fullmatch(form)) and _of_hundred(value, hundreds)):
                yield node.lineno
        elif isinstance(node, ast.Call) and len(node.args) == 2 and ast.unparse(node.func) in ("numeral", "format"):
            value, form = node.args
            if isinstance(form, ast.Constant) and _ROUNDED.fullmatch(str(form.value)) and _of_hundred(value, hundreds):
                yield node.lineno


def _pairs(node: ast.Assign) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Names of an assignment, each with what it is given."""
    for target in node.targets:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            yield from zip(target.elts, node.value.elts, strict=False)
        else:
            yield target, node.value


def _of_hundred(node: ast.expr, hundreds: Set[str]) -> bool:
    """Whether it is something times 100, or the name of such."""
    if isinstance(node, ast.Name):
        return node.id in hundreds
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult | ast.Div | ast.Sub | ast.Add):
        return False
    if isinstance(node.op, ast.Mult) and any(
        isinstance(one, ast.Constant) and one.value == 100 for one in (node.left, node.right)
    ):
        return True
    return _of_hundred(node.left, hundreds)


def test_no_share_is_made_percent_by_hand() -> None:
    package = Path(tessera_core.__file__).parent
    found = {
        path.relative_to(package).as_posix(): lines
        for path in package.rglob("*.py")
        if path.name != "percents.py"
        # Most modules say nothing of percents, and parsing takes time.
        and re.search(r"100|%\}", text := path.read_text(encoding="utf-8"))
        and (lines := sorted(_by_hand(ast.parse(text))))
    }
    assert {name: lines for name, lines in found.items() if name not in BY_HAND} == {}, (
        "write it by percent() or percentage()"
    )
    assert set(BY_HAND) - set(found) == set()


@pytest.mark.parametrize("code", [
    'f"{100 * share:.0f} %"',
    'f"{share:.0%}"',
    'f"{share * 100:.1f} %"',
    'f"{100 * part / whole:.0f} %"',
    'share = 100 * a / b\nf"{share:.0f} %"',
    'low, high = 100 * a, 100 * b\nf"{low:.1f} to {high:.1f} %"',
    'numeral(100 * share, ".0f")',
    'f"{round(100 * share)} %"',
])  # fmt: skip
def test_a_share_by_hand_is_found(code: str) -> None:
    assert list(_by_hand(ast.parse(code)))
    assert not list(_by_hand(ast.parse('f"{percent(share)} % of {n:,.0f}, up to {100 * rate:g} %"')))
