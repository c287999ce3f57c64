"""What is worked out beside the map: newest wins, nothing is computed twice, and nothing stale is taken for fresh."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from tessera_core.heads import HeadChoice, make_head, predict_raster
from tessera_core.project.classify import fit_labels
from tessera_core.raster import EmbeddingRaster
from tessera_core.session.assessor import STOPPED, Assessor
from tests.factories import landscape
from tests.session.questions import PER_CLASS, labelled, question, raster_place

pytestmark = pytest.mark.usefixtures("few_trees")


@pytest.fixture(scope="module")
def raster() -> EmbeddingRaster:
    return landscape(80)


def test_every_stage_answers_the_question(raster: EmbeddingRaster) -> None:
    log, told = labelled(raster), {}
    assessor = Assessor(raster, on_temperature=lambda head, t: told.update({head: t}), quiet=0)
    first = assessor.ask(question(log, sets=True))
    assert first.pending
    found = assessor.wait()
    assert not found.pending
    assert found.fresh == {"map", "score", "next", "confidence", "issues", "dissimilarity", "sets"}
    assert found.score is not None
    assert found.score.accuracy is not None
    assert found.score.n_labels == 4 * PER_CLASS
    assert len(found.queries) == 5
    assert found.calibration is not None
    assert set(told) == {HeadChoice("ridge")}
    assert found.dissimilarity is not None
    assert found.dissimilarity.percent.shape == raster.shape
    assert found.sets is not None
    assert found.sets.size[0, 0] == 255
    # Asked again, nothing is done.
    assert assessor.ask(question(log, sets=True)) is found


def test_the_newest_question_wins_and_stops_the_one_before(raster: EmbeddingRaster) -> None:
    log = labelled(raster)
    assessor = Assessor(raster, quiet=0.2)
    for n in range(6):
        assessor.ask(question(log))
        log.add("point", 1, [raster_place(raster, 10, 6 + 4 * n)])
        time.sleep(0.01)
    assessor.ask(question(log))
    found = assessor.wait()
    assert found.version == log.version
    assert found.score is not None
    assert found.score.n_labels == 4 * PER_CLASS + 6


def test_only_what_changed_is_worked_out_again(raster: EmbeddingRaster) -> None:
    log = labelled(raster)
    assessor = Assessor(raster, quiet=0)
    assessor.ask(question(log, sets=True))
    before = assessor.wait()
    skipped = tuple((s.row, s.col) for s in before.queries)
    assessor.ask(question(log, sets=True, skipped=skipped, error=0.2))
    after = assessor.wait()
    assert after.score is before.score
    assert after.issues is before.issues
    assert after.sets is not before.sets
    assert not {(s.row, s.col) for s in after.queries} & set(skipped)
    log.add("point", 1, [raster_place(raster, 20, 20)])
    stale = assessor.ask(question(log, sets=True, skipped=skipped, error=0.2))
    assert stale.fresh == {"map"}
    assert stale.score is before.score
    assert assessor.wait().score is not before.score


def test_labelling_pauses_the_work_and_it_goes_on(raster: EmbeddingRaster) -> None:
    log = labelled(raster)
    assessor = Assessor(raster, quiet=0.15)
    assessor.ask(question(log))
    assessor.pause()
    paused = assessor.wait()
    assert not paused.pending
    assert paused.score is None
    assessor.ask(question(log))
    assert assessor.wait().score is not None


def test_too_few_labels_are_told_not_raised(raster: EmbeddingRaster) -> None:
    log = labelled(raster, per_class=1)
    assessor = Assessor(raster, quiet=0)
    assessor.ask(question(log))
    found = assessor.wait()
    assert found.score is not None
    assert found.score.accuracy is None
    assert "second place" in found.score.headline
    assert found.calibration is None
    assert found.queries


def test_a_slow_head_maps_in_the_background_and_can_be_stopped(raster: EmbeddingRaster) -> None:
    log, made = labelled(raster), []
    assessor = Assessor(raster, on_map=lambda version, head, classes: made.append((version, head, classes)), quiet=0)
    assessor.ask(question(log, "forest", slow=True))
    found = assessor.wait()
    ((version, head, classes),) = made
    assert (version, head) == (log.version, HeadChoice("forest"))
    np.testing.assert_array_equal(
        classes.classes, predict_raster(fit_labels(log.labels, raster, "forest"), raster).classes
    )
    assert found.map_progress == 1.0
    # Stopped before it begins: the quick map stays, and everything else is still answered.
    assessor = Assessor(raster, on_map=lambda *a: made.append(a), quiet=0.2)
    assessor.ask(question(log, "forest", slow=True))
    assessor.cancel()
    found = assessor.wait()
    assert len(made) == 1
    assert found.problem == STOPPED
    assert found.score is not None


def test_of_a_map_that_is_only_asked_for_nothing_is_made_yet(raster: EmbeddingRaster) -> None:
    log = labelled(raster)
    assessor = Assessor(raster, quiet=0)
    assessor.ask(question(log, "forest", slow=True))
    assert assessor.wait().map_progress == 1.0
    # The same map stays whole when something else is asked about it.
    assert assessor.ask(question(log, "forest", slow=True, dissimilarity=True)).map_progress == 1.0
    log.add("point", 1, log.labels[0].xy)
    assert assessor.ask(question(log, "forest", slow=True)).map_progress == 0.0
    assessor.pause()
    assessor.wait()


def test_a_stage_that_fails_does_not_end_the_others(raster: EmbeddingRaster, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tessera_core.assess.live.live_score", broken)
    assessor = Assessor(raster, quiet=0)
    assessor.ask(question(labelled(raster)))
    found = assessor.wait()
    assert found.score is None
    assert "unforeseen" in found.problem
    assert found.queries
    assert found.dissimilarity is not None


def test_questions_of_many_threads_end_in_the_last_one(raster: EmbeddingRaster) -> None:
    log = labelled(raster)
    assessor, asked = Assessor(raster, quiet=0), question(log)
    others = [replace(asked, version=100 + n, skipped=((n, n),)) for n in range(6)]
    threads = [threading.Thread(target=assessor.ask, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assessor.ask(asked)
    assert assessor.wait().version == asked.version
    assert make_head("ridge") is not None
