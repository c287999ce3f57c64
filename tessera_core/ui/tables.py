"""Tables on the page, the heads of their columns in the language that is spoken."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from tessera_core.language import ENGLISH, current, t


def show(data: Any, *, column_config: dict[str, Any] | None = None, **options: Any) -> Any:
    """``st.dataframe``; its columns keep their English names, by which they are known in the code.

    Args:
        data: anything that pandas makes a table of, or a styled table.
        column_config: as Streamlit has it.
        **options: of ``st.dataframe``.
    """
    config = dict(column_config or {})
    if current() != ENGLISH:
        table = data if isinstance(data, pd.DataFrame) else getattr(data, "data", None)
        columns = (table if isinstance(table, pd.DataFrame) else pd.DataFrame(data)).columns
        for name in map(str, columns):
            known = config.get(name)
            if known is None:
                config[name] = st.column_config.Column(t(name))
            elif isinstance(known, dict) and not known.get("label"):
                config[name] = {**known, "label": t(name)}
    return st.dataframe(data, column_config=config or None, **options)
