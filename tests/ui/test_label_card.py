"""The card of the labels on the page: what there is to mind, the worst first; nothing where all is well."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def _page() -> None:
    from tessera_core.assess.label_card import CardLine, LabelCard
    from tessera_core.ui.label import quality

    lines = (
        CardLine("clustered", "ok", "All is well.", "", 1.0),
        CardLine("no data", "mind", "Labels where there are no embeddings: 1 of 9.", "Move them.", 1.0),
        CardLine("imbalance", "bad", "All labels are of one class (A *b*).", "Label places of a second class.", 9.0),
    )
    quality.label_card(LabelCard(lines))
    quality.label_card(LabelCard(lines[:1]))
    quality.label_card(None)


def test_the_page_shows_what_there_is_to_mind_the_worst_first() -> None:
    page = AppTest.from_function(_page).run(timeout=20)
    assert not page.exception
    said = [one.value for one in page.markdown]
    assert len(said) == 3
    assert "All labels are of one class" in said[1]
    assert "second class" in said[1]
    assert "A \\*b\\*" in said[1]
    assert "1 of 9" in said[2]
