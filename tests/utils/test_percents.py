"""Shares in percent: what is not all is never written as 100, what is not nothing never as 0, wherever an interval is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

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
