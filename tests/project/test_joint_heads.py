"""One head from many places, judged by leaving whole places out, taught further, and kept by name."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tessera_core.assess.reference import Reference
from tessera_core.cli import main
from tessera_core.errors import HeadError, InputError, LabelError, MixedDatasetsError
from tessera_core.export.geotiff import write_class_map
from tessera_core.heads import HeadChoice, load_head
from tessera_core.labels.model import LabelClass
from tessera_core.project import saved_heads
from tessera_core.project.joint_heads import (
    join_taught,
    save_joint,
    score_elsewhere,
    score_places,
    taught_in,
    taught_of,
    train_joint,
)
from tessera_core.project.teaching import head_here
from tessera_core.project.tile_training import joined_references
from tessera_core.provenance import Provenance
from tests.factories import make_grid, make_raster

GRID = make_grid((30, 45))
ORIGIN = Provenance("studio", "nano", dim=16, year=2024)
MIDDLES = np.random.default_rng(5).normal(size=(4, 16))


def region(seed, names, shift=0.0, origin=ORIGIN):
    """Embeddings of stripes, one a class, and labels of nine patches; the ids of a class differ between regions."""
    rng = np.random.default_rng(seed)
    kinds = np.array([ord(name) - ord("a") for name in names])
    stripe = np.minimum(np.arange(45) // (45 // len(names)), len(names) - 1)
    truth = np.broadcast_to(stripe, (30, 45))
    x = MIDDLES[kinds[truth]] + shift * MIDDLES[3] + 0.3 * rng.normal(size=(30, 45, 16))
    raster = make_raster(x, GRID, origin)
    classes = [LabelClass(n + 1, name, "#808080") for n, name in enumerate(names)]
    labelled = np.zeros((30, 45), np.uint8)
    groups = np.zeros((30, 45), np.int64)
    for number, (row, col) in enumerate((r, c) for r in (3, 13, 23) for c in range(3, 43, 8)):
        at = np.s_[row : row + 3, col : col + 3]
        labelled[at], groups[at] = truth[row + 1, col + 1] + 1, number
    rows, cols = np.nonzero(labelled)
    return raster, Reference(rows, cols, labelled[rows, cols], groups[rows, cols], classes)


@pytest.fixture(scope="module")
def three():
    """Kent and Essex are alike; Devon has other ground and a class of its own."""
    kent, essex = region(0, "abc"), region(1, "cba")
    devon = region(2, "abd", shift=3.0)
    return [taught_in(name, *place) for name, place in (("Kent", kent), ("Essex", essex), ("Devon", devon))]


def test_places_are_joined_by_the_names_of_classes(three):
    both = join_taught(three)
    assert [c.name for c in both.classes] == ["a", "b", "c", "d"]
    assert both.places == ("Kent", "Essex", "Devon")
    assert both.counts()["Essex"] == {"a": 6, "b": 3, "c": 6} or sum(both.counts()["Essex"].values()) == 15
    assert len(np.unique(both.groups)) == 45
    for part, k in zip(three, range(3), strict=True):
        here = both.place == k
        own = {c.name for c in part.classes}
        assert {both.names[int(i)] for i in np.unique(both.y[here])} <= own
        np.testing.assert_array_equal(both.codes[here], part.codes)
    assert join_taught([three[0], three[0]]).places == ("Kent", "Kent (2)")


def test_of_labels_on_several_grids_those_suggested_stay_known():
    """As where one head is trained over tiles of two coordinate systems."""
    first, second = (region(seed, "abc")[1] for seed in (0, 1))
    assert joined_references([first, second]).suggested is None
    marked = joined_references([first, replace(second, suggested=second.groups == 2)])
    assert np.flatnonzero(marked.suggested).tolist() == (len(first.rows) + np.flatnonzero(second.groups == 2)).tolist()


def test_each_place_is_held_out_whole(three):
    scores = {one.place: one for one in score_places(join_taught(three), HeadChoice("ridge"))}
    assert scores["Kent"].accuracy > 0.9
    assert scores["Essex"].accuracy > 0.9
    # Other ground, and a class that nobody else has.
    assert scores["Devon"].accuracy < scores["Kent"].accuracy
    assert scores["Devon"].unknown == {"d": 6} or list(scores["Devon"].unknown) == ["d"]
    said = scores["Kent"].sentences()[0]
    assert said.startswith(
        f"Trained without Kent, right at {100 * scores['Kent'].accuracy:.0f} % in Kent (15 labels; 95 % sure:"
    )
    assert "Only Devon has labels of d" in " ".join(scores["Devon"].sentences())
    # The score is that of a head that was trained on the others alone.
    alone = train_joint(join_taught([three[0], three[2]]), HeadChoice("ridge"), calibrated=False).head
    essex = three[1]
    names = {c.id: c.name for c in join_taught([three[0], three[2]]).classes}
    own = [essex.names[int(k)] for k in essex.y]
    found = [names[int(k)] for k in alone.predict(essex.codes * essex.scales[:, None])]
    _, label = np.unique(essex.groups, return_inverse=True)
    right = np.bincount(label, [a == b for a, b in zip(own, found, strict=True)]) / np.bincount(label)
    assert scores["Essex"].accuracy == pytest.approx(right.mean())


def test_labels_that_taught_it_in_another_year_are_told(three, tmp_path):
    kent, essex, _ = three
    before, now = replace(kent, places=("Kent 2023",)), replace(kent, codes=kent.codes // 2, places=("Kent 2024",))
    both = join_taught([before, now])
    score = score_places(both, HeadChoice("ridge"))[1]
    assert (score.repeated, score.labels) == (15, 15)
    told = "15 of these labels teach it as another year sees them, so at new places it is likely right less often."
    assert told in score.sentences()
    # Where a pixel of a label has no data in one of the years, it is the same label.
    first = np.unique(now.groups, return_index=True)[1]
    holes = now._at(np.setdiff1d(np.arange(len(now.y)), first))
    assert len(np.unique(holes.groups)) == 15
    assert score_places(join_taught([before, holes]), HeadChoice("ridge"))[1].repeated == 15
    # Of labels that the app suggested and that are not judged, none is counted among those judged.
    chosen = replace(now, suggested=now.groups % 5 == 1)
    score = score_places(join_taught([before, chosen]), HeadChoice("ridge"))[1]
    assert score.left_out
    assert score.repeated == score.labels < 15
    # Another place has labels at the same pixels of its own grid.
    assert not any(one.repeated for one in score_places(join_taught([before, essex]), HeadChoice("ridge")))

    alone = join_taught([before])
    saved = load_head(save_joint(tmp_path / "h.safetensors", alone, train_joint(alone, HeadChoice("ridge")), ()))
    few = now._at(np.flatnonzero(now.groups < 5))
    raster, _ = region(0, "abc")
    said = " ".join(head_here(saved, raster, few).sentences())
    assert "of 5 labels here (95 % sure:" in said
    assert "5 of these labels taught it as another year sees them" in said
    assert "which taught it nothing" in " ".join(head_here(saved, raster, essex).sentences())


def test_a_saved_head_is_taught_further_without_its_first_regions(three, tmp_path):
    first = join_taught(three[:2])
    trained = train_joint(first, HeadChoice("ridge"))
    path = save_joint(tmp_path / "h.safetensors", first, trained, score_places(first, HeadChoice("ridge")))
    saved = load_head(path)
    assert list(saved.card["places"]) == ["Kent", "Essex"]
    assert "Trained without Kent" in saved.card["sentences"][0]
    assert saved.seen["means"].shape == (3, 16)
    before = score_elsewhere(saved, three[2])
    assert before.accuracy < 0.9
    assert list(before.unknown) == ["d"]
    more = join_taught([taught_of(saved), three[2]])
    assert more.counts() == join_taught(three).counts()
    again, all_at_once = (
        train_joint(one, HeadChoice("ridge"), calibrated=False).head for one in (more, join_taught(three))
    )
    x = three[2].codes * three[2].scales[:, None]
    np.testing.assert_array_equal(again.predict(x), all_at_once.predict(x))


def test_what_was_suggested_stays_known_and_is_not_judged(three, tmp_path):
    """A suggested label lies where a map is in doubt: the score of the others stands, as beside the map."""
    kent, essex = region(0, "abc"), region(1, "cba")
    chosen = np.isin(essex[1].groups, (0, 6, 14))
    # These are called what they are not, as places in doubt often are.
    wrong = np.where(chosen, essex[1].y % 3 + 1, essex[1].y).astype(np.uint8)
    marked, blind = (
        taught_in("Essex", essex[0], replace(essex[1], y=wrong, suggested=which)) for which in (chosen, None)
    )
    both = join_taught([taught_in("Kent", *kent), marked])
    knows, before = (
        score_places(join_taught([taught_in("Kent", *kent), one]), HeadChoice("ridge"))[1] for one in (marked, blind)
    )
    assert (knows.labels, knows.suggested, knows.left_out) == (12, 3, True)
    assert (before.labels, before.suggested) == (15, 0)
    assert knows.accuracy > before.accuracy
    assert "Labels at places that the app suggested: 3." in " ".join(knows.sentences())
    assert knows.to_json()["suggested"] == 3
    trained = train_joint(both, HeadChoice("ridge"))
    assert "at places that the app suggested: 3. They lie" in " ".join(trained.score.notes)
    saved = load_head(save_joint(tmp_path / "h.safetensors", both, trained, []))
    assert score_elsewhere(saved, marked).left_out
    again = taught_of(saved)
    assert again.suggested.sum() == chosen.sum()
    np.testing.assert_array_equal(again.suggested, both.suggested)
    # A file of before it was kept.
    old = type(saved)(saved.head, saved.class_names, saved.provenance, {}, saved.card, dict(saved.taught))
    del old.taught["suggested"]
    assert taught_of(old).suggested is None
    old.taught["suggested"] = again.suggested[1:]
    with pytest.raises(HeadError, match="damaged"):
        taught_of(old)
    # Few of one's own are no score: then all are judged, and it is said.
    few = taught_in("Essex", essex[0], replace(essex[1], suggested=essex[1].groups > 4))
    told = score_places(join_taught([taught_in("Kent", *kent), few]), HeadChoice("ridge"))[1]
    assert (told.labels, told.suggested, told.left_out) == (15, 10, False)
    assert "likely right more often" in " ".join(told.sentences())
    # Nor is a class left out with them.
    one = taught_in("Essex", essex[0], replace(essex[1], suggested=essex[1].y == 3))
    told = score_places(join_taught([taught_in("Kent", *kent), one]), HeadChoice("ridge"))[1]
    third = len(np.unique(essex[1].groups[essex[1].y == 3]))
    assert (told.labels, told.suggested, told.left_out) == (15, third, False)


def test_what_does_not_fit_is_refused(three, tmp_path):
    other = taught_in("Wales", *region(3, "ab", origin=Provenance("studio", "other", dim=16, year=2024)))
    with pytest.raises(MixedDatasetsError):
        join_taught([three[0], other])
    with pytest.raises(LabelError, match="no labels to join"):
        join_taught([])
    first = join_taught(three[:2])
    trained = train_joint(first, HeadChoice("ridge"), calibrated=False)
    saved = load_head(save_joint(tmp_path / "h.safetensors", first, trained, []))
    with pytest.raises(HeadError, match="does not carry"):
        taught_of(type(saved)(saved.head, saved.class_names, saved.provenance))
    for name, wrong in (
        ("y", saved.taught["y"] + 9),
        ("codes", saved.taught["codes"][:3]),
        ("place", saved.taught["place"] + 5),
    ):
        bad = type(saved)(saved.head, saved.class_names, saved.provenance, {}, saved.card, saved.taught | {name: wrong})
        with pytest.raises(HeadError, match="damaged"):
            taught_of(bad)


def test_the_command_trains_teaches_and_keeps(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    for name, seed in (("kent", 0), ("essex", 1), ("devon", 2)):
        raster, labels = region(seed, "abc", origin=ORIGIN)
        raster.save(tmp_path / name)
        truth = np.zeros(GRID.shape, np.uint8)
        truth[labels.rows, labels.cols] = labels.y
        write_class_map(tmp_path / f"{name}.tif", truth, None, GRID, labels.classes, ORIGIN)
    place = {name: f"{tmp_path / name}={tmp_path / name}.tif" for name in ("kent", "essex", "devon")}
    head, more = tmp_path / "h.safetensors", tmp_path / "more.safetensors"

    def tessera(*words):
        code = main([str(word) for word in (*words, "--json")])
        return code, json.loads(capsys.readouterr().out)

    code, result = tessera("head", "train", place["kent"], place["essex"], "--head", "ridge", "--out", head)
    assert code == 0
    assert [one["place"] for one in result["elsewhere"]] == ["kent", "essex"]
    assert result["sentences"][0].startswith("Trained without kent, right at ")
    code, result = tessera("head", "teach", head, place["devon"], "--out", more)
    assert code == 0
    assert list(result["places"]) == ["kent", "essex", "devon"]
    assert result["before"][0]["accuracy"] > 0.8
    assert result["head"] == "RidgeHead"
    assert tessera("head", "keep", more, "--name", "three counties")[0] == 0
    assert tessera("head", "keep", more, "--name", "three counties")[0] == 2
    assert tessera("head", "keep", more, "--name", "../x")[0] == 2
    (kept,) = tessera("head", "list")[1]["heads"]
    assert (kept["name"], kept["classes"], kept["teachable"]) == ("three counties", ["a", "b", "c"], True)
    words = ("map", tmp_path / "kent", "--use-head", "three counties", "--out", tmp_path / "m.tif")
    code, result = tessera(*words)
    assert code == 0
    assert "unlike_training" in result
    code, result = tessera("info", more)
    assert "taught in kent, essex, devon" in " ".join(
        result["text"] if "text" in result else result["items"][0]["text"]
    )
    assert tessera("head", "forget", "three counties")[0] == 0
    assert tessera("head", "list")[1]["heads"] == []
    assert tessera("head", "forget", "three counties")[0] == 2
    assert main([str(word) for word in words]) == 2
    with pytest.raises(InputError, match="is none yet"):
        saved_heads.kept_head("nobody")
