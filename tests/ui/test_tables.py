"""Tables of a page: heads and decimals in the language that is spoken, whatever the browser's is."""

from __future__ import annotations

import io
import json
import math

import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from tessera_core.ui import tables
from tests.waiting import PATIENCE_S


def _page(language: str) -> None:
    import streamlit as st

    from tessera_core.language import using
    from tessera_core.ui import tables

    number = st.column_config.NumberColumn
    rows = [
        {"Class": "Wood 1.5", "Share": 12.345, "Truly": 1234.5, "Odd": 0.01234, "Places": 3},
        {"Class": "Fen", "Share": None, "Truly": 7.0, "Odd": 2.0, "Places": 1200},
    ]
    with using(language):
        tables.show(
            rows,
            column_config={"Share": number(format="%.1f %%", width=62), "Truly": number("Truly (ha)", format="%.1f")},
        )


@pytest.mark.parametrize(("value", "plain", "formatted"), [
    (math.inf, "∞", "∞"),
    (-math.inf, "−∞", "−∞"),
    (math.nan, "", ""),
    (1e-9, "1e-09", "0.0 %"),
    (0.000012, "0.00001200", "<0.01 %"),
    (0.02, "0.02000", "0.02 %"),
    (99.98, "99.98", "99.98 %"),
    (99.9996, "100.00", ">99.99 %"),
    (100.0, "100", "100.0 %"),
    (-2.5e-8, "-2.5e-08", "0.0 %"),
    (-12.34, "-12.34", "-12.3 %"),
    (1e300, "1e+300", None),
    (0.0, "0", "0.0 %"),
])  # fmt: skip
def test_no_number_is_too_small_or_too_large_to_be_written(value: float, plain: str, formatted: str | None) -> None:
    assert tables._writer(None)(value) == plain
    if formatted is not None:
        assert tables._writer("%.1f %%")(value) == formatted


@pytest.mark.parametrize(("language", "share", "area", "odd", "head"), [
    ("en", "12.3 %", "1,234.5", "0.01234", None),
    ("de", "12,3 %", "1.234,5", "0,01234", "Klasse"),
    ("fr", "12,3 %", "1\u202f234,5", "0,01234", "Classe"),
])  # fmt: skip
def test_decimals_are_written_as_the_language_does(
    language: str, share: str, area: str, odd: str, head: str | None
) -> None:
    app = AppTest.from_function(_page, args=(language,), default_timeout=PATIENCE_S).run()
    assert not app.exception
    table = app.dataframe[0]
    # Sorting and copying go by the numbers themselves.
    assert table.value["Truly"].tolist() == [1234.5, 7.0]
    with pa.ipc.open_stream(io.BytesIO(table.proto.arrow_data.styler.display_values)) as stream:
        drawn = stream.read_all().to_pandas()
    assert drawn.iloc[0].tolist()[1:4] == [share, area, odd]
    assert drawn.iloc[1].tolist()[3] == "2"
    config = json.loads(table.proto.columns)
    assert config["Truly"]["label"] == "Truly (ha)"
    assert config.get("Class", {}).get("label") == head
    # A format of the browser's would win over what is drawn.
    assert [config[name]["type_config"].get("format") for name in ("Share", "Truly")] == [None, None]
    assert config["Share"]["width"] == 62
