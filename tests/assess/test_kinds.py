"""Whether labels are classes or numbers: names and values of both kinds, as files have them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.assess.kinds import codes_taken_as_values, values_taken_as_classes


@given(st.lists(st.integers(1_000, 40_000), min_size=25, max_size=200, unique=True), st.sampled_from([1, 1000]))
def test_measured_numbers_are_no_classes(values: list[int], scale: int) -> None:
    names = [f"{value / scale:g}" for value in values]
    assert "look measured" in values_taken_as_classes(names, len(values) + 5)
    # The same with decimal commas.
    assert values_taken_as_classes([name.replace(".", ",") for name in names], len(values))


@given(st.lists(st.integers(1, 9999), min_size=1, max_size=60, unique=True), st.integers(2, 30))
def test_codes_that_repeat_are_classes(codes: list[int], times: int) -> None:
    assert values_taken_as_classes([str(code) for code in codes], times * len(codes)) == ""


@pytest.mark.parametrize(
    "names", [["Wood", "12.5"], ["2.1", "2.2", "3.1"], ["w1f", "g4"], [f"{i} Wood" for i in range(90)], []]
)
def test_names_and_codes_of_schemes_are_classes(names: list[str]) -> None:
    assert values_taken_as_classes(names, len(names)) == ""


@given(st.lists(st.integers(1, 9999), min_size=2, max_size=12, unique=True), st.integers(3, 40))
def test_codes_are_no_numbers(codes: list[int], times: int) -> None:
    values = np.tile(np.array(codes, float), times)
    assert "look like class codes" in codes_taken_as_values(values)
    assert codes_taken_as_values(values + 0.5) == ""


@pytest.mark.parametrize(
    "field", ["class_id", "Code", "LC", "landcover", "crop-code", "habitat", "CODE_18", "clc_code", "land_cover"]
)
def test_a_field_named_as_classes_are_holds_codes(field: str) -> None:
    values = np.arange(1.0, 30.0)
    assert codes_taken_as_values(values, field)
    for measured in ("height_m", "crop_height", "canopy_cover", "n_species", "", "123"):
        assert codes_taken_as_values(values, measured) == ""
    # Pixels of a raster that hold each of them by the hundred.
    assert codes_taken_as_values(np.tile(values, 300))
    assert codes_taken_as_values(values + 0.25, field) == ""
