"""Tables on the page: the heads of their columns and their decimals in the language that is spoken."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from tessera_core.language import ENGLISH, current, numeral, percentage, t

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

# A column's own format, as Streamlit has it: decimals, and what stands behind them.
_FORMAT = re.compile(r"%\.(\d)f(.*)")
# Of a number without a format: digits, and the sizes between which it is written without an exponent.
_DIGITS, _LEAST, _MOST = 4, 1e-6, 1e15


def show(data: Any, *, column_config: dict[str, Any] | None = None, **options: Any) -> Any:
    """``st.dataframe``; its columns keep their English names, by which they are known in the code.

    Numbers with decimals are drawn by us: the browser would write them as *its* language does, and the page speaks another.

    Args:
        data: anything that pandas makes a table of, or a styled table.
        column_config: as Streamlit has it.
        **options: of ``st.dataframe``.
    """
    config = dict(column_config or {})
    table = data if isinstance(data, pd.DataFrame) else getattr(data, "data", None)
    table = table if isinstance(table, pd.DataFrame) else pd.DataFrame(data)
    written: dict[str, Callable[[float], str]] = {}
    for name in table.columns:
        known: Any = config.get(name)
        # What is no mapping is a label, or hides the column.
        own = dict(known) if isinstance(known, dict) else {}
        kind = own.get("type_config") or {}
        if pd.api.types.is_float_dtype(table[name]) and kind.get("type", "number") == "number":
            written[name] = _writer(kind.get("format"))
            if kind.get("format"):
                own = config[name] = {**own, "type_config": {**kind, "format": None}}
        if current() != ENGLISH:
            if name not in config:
                config[str(name)] = st.column_config.Column(t(str(name)))
            elif own and not own.get("label"):
                config[str(name)] = {**own, "label": t(str(name))}
    if written:
        styled: Styler = data if hasattr(data, "data") and hasattr(data, "format") else table.style
        data = styled.format(written, na_rep="")
    # A gap is a gap: the browser would write "None".
    options.setdefault("placeholder", "")
    return st.dataframe(data, column_config=config or None, **options)


def _writer(form: str | None) -> Callable[[float], str]:
    """How a column's numbers are written, by its format."""
    found = _FORMAT.fullmatch(form or "")

    def write(value: float) -> str:
        if not math.isfinite(value):
            return "" if math.isnan(value) else "∞" if value > 0 else "−∞"
        if found is None:
            if value and not _LEAST <= abs(value) < _MOST:
                return numeral(value, f".{_DIGITS}g")
            # Whole numbers, which a column with a gap in it holds as floats, stay whole.
            whole = float(value).is_integer()
            places = 0 if whole else max(0, _DIGITS - 1 - math.floor(math.log10(abs(value))))
            return numeral(round(value, places), f",.{places}f")
        unit = found[2].replace("%%", "%")
        # A share: what is not nothing is not written as 0, and what is not all not as 100.
        text = percentage(value / 100, int(found[1])) if "%" in unit else numeral(value, f",.{found[1]}f")
        return text + unit

    return write
