"""The report's numbers are those of the pages: of Validate and of Export."""

from __future__ import annotations

import numpy as np
from streamlit.testing.v1 import AppTest

from tessera_core.assess.designs import draw
from tessera_core.export.report.words import accuracy_sentence
from tessera_core.project import validate
from tessera_core.project.classify import map_project, project_product
from tessera_core.project.project import Project
from tessera_core.project.report import project_report
from tessera_core.sources.local.open import open_embeddings
from tessera_core.ui import humanize, state


def _shown(app: AppTest, project: Project, page: str) -> AppTest:
    app.query_params["project"] = project.folder.name
    app.run()
    app.switch_page(f"pages/{page}.py").run()
    assert not app.exception
    return app


def test_every_number_of_the_report_is_on_the_pages(app: AppTest, project: Project) -> None:
    grid = project.grid
    assert grid is not None
    for number, (row, col) in enumerate(((10, 10), (10, 50), (50, 10))):
        x, y = grid.pixel_to_xy(row, col)
        project.log.add("point", project.log.add_class(f"Kind {number}").id, [(float(x), float(y))])
    year = state.current_year(project)
    raster = open_embeddings(project.embeddings_path(year), year=year)
    made = map_project(project, raster, year)
    sample = draw(made.map.classes, 40, at_least=5, seed=2)
    current = validate.Validation(year, raster.grid, sample)
    rng = np.random.default_rng(0)
    for place in range(38):
        right = int(sample.mapped[place])
        current = current.answer(place, right if rng.random() < 0.8 else right % 3 + 1)
    validate.save(project, current)
    said = project_report(project, project_product(project, raster, made), year)
    checked = said.checked
    assert checked is not None

    _shown(app, project, "validate")
    assert any(humanize.escape(accuracy_sentence(checked)) in text.value for text in app.markdown)
    captions = " ".join(text.value for text in (*app.caption, *app.markdown))
    assert all(humanize.escape(note) in captions for note in checked.notes)
    areas = app.dataframe[0].value
    for at, one in enumerate(checked.classes):
        row = areas.iloc[at]
        assert row["Class"] == one.name
        numbers = (one.mapped, one.area.value, one.area.low, one.area.high, one.places)
        assert tuple(row[["On the map", "Truly", "From", "To", "Places"]]) == numbers
        for title, share in (("Right of mapped", one.users), ("Found", one.producers)):
            if share.value is None or share.low is None or share.high is None:
                assert row[title] == "no place"
            else:
                assert row[title] == f"{100 * share.value:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"
    matrix = app.dataframe[1].value
    names = {one.id: one.name for one in checked.classes}
    seen = [[int(matrix.iloc[i][names[k]]) for k in checked.ids] for i in range(len(checked.ids))]
    assert seen == [list(row) for row in checked.counts]

    _shown(app, project, "export")
    counted, corrected = (table.value for table in app.dataframe[:2])
    for at, mapped in enumerate(said.classes):
        row = counted.iloc[at]
        assert (row["Class"], row["On the map (ha)"], row["Labels"]) == (mapped.name, mapped.hectares, mapped.labels)
        assert row["Share"] == 100 * mapped.share
    for at, one in enumerate(checked.classes):
        row = corrected.iloc[at]
        assert (row["Truly"], row["At least"], row["At most"]) == (
            one.area.value,
            one.area.low,
            one.area.high,
        )
