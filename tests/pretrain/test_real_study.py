"""The study on real pixels: readers give what files hold, no ground is on both sides, methods are paired, results are kept."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from tessera_core.cli import main
from tessera_core.dpixels.seasons import monthly_statistics, seasonal_statistics, standardised
from tessera_core.dpixels.tile import S2_BANDS
from tessera_core.errors import InputError, LabelError, TileError
from tessera_core.grid import Grid
from tessera_core.inference.external import PixelYears, checked
from tessera_core.models.checkpoint import load_checkpoint
from tessera_core.pretrain import halves
from tessera_core.pretrain.studies import labelled, peers, real

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
DOYS = np.arange(6, 366, 20)


def pixels(count: int = 240, seed: int = 0) -> dict[str, np.ndarray]:
    """Two crops that green at different times, over 24 cells of ground, with gaps."""
    rng = np.random.default_rng(seed)
    label = np.arange(count) % 2
    season = np.exp(-(((DOYS[None] - np.where(label, 220, 150)[:, None]) / 40.0) ** 2))
    s2 = np.full((count, len(DOYS), 10), 1000.0)
    s2[..., [6, 7]] += 2500 * season[..., None]
    s2 += rng.normal(0, 120, s2.shape)
    lonlat = np.stack([rng.uniform(5, 5.6, count), rng.uniform(50, 50.4, count)], axis=1)
    mask = rng.random((count, len(DOYS))) > 0.2
    return {
        "s2": np.where(mask[..., None], s2, 0).astype(np.uint16),
        "mask": mask,
        "doy": DOYS,
        "bands": np.array(BANDS),
        "label": label.astype(np.int8),
        "class_names": np.array(["spring", "summer"]),
        "lonlat": lonlat,
    }


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("real") / "crops.npz"
    arrays = pixels()
    season = arrays["s2"][..., 6].astype(np.float32)
    np.savez(path, **arrays, theirs=season.astype(np.float16))
    return path


@pytest.fixture(scope="module")
def place(file: Path) -> labelled.RealPlace:
    return labelled.read_npz(file)


@pytest.fixture(scope="module")
def nano():
    torch.set_num_threads(1)
    return load_checkpoint("studio-nano")


# ------------------------------------------------------------------ readers


def test_an_npz_file_is_a_place_with_its_bands_in_our_order(place: labelled.RealPlace) -> None:
    arrays = pixels()
    assert len(place) == 240
    assert place.reference.names == {1: "spring", 2: "summer"}
    for at, band in enumerate(S2_BANDS):
        np.testing.assert_array_equal(place.tile.bands[:, :, 0, at].T, arrays["s2"][..., BANDS.index(band)])
    np.testing.assert_array_equal(place.tile.masks[:, :, 0].T.astype(bool), arrays["mask"])
    assert list(place.vectors) == ["theirs"]
    cells = np.floor(arrays["lonlat"] * 10).astype(int)
    same = (cells[:, None] == cells[None]).all(-1)
    np.testing.assert_array_equal(place.reference.groups[:, None] == place.reference.groups[None], same)


@pytest.mark.parametrize("lacking", ["mask", "lonlat", "bands"])
def test_an_npz_file_that_lacks_something_says_what(tmp_path: Path, lacking: str) -> None:
    np.savez(tmp_path / "x.npz", **{k: v for k, v in pixels(8).items() if k != lacking})
    with pytest.raises(TileError, match=f"no array {lacking}"):
        labelled.read_npz(tmp_path / "x.npz")


def test_an_npz_file_with_objects_is_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **pixels(8) | {"label": np.array([object()] * 8)})
    with pytest.raises(TileError, match=r"label\.npy is no plain NumPy array"):
        labelled.read_npz(tmp_path / "x.npz")


def wide_table(path: Path, arrays: dict[str, np.ndarray], scale: float = 1.0) -> None:
    """As ``toBands`` and ``sampleRegions`` of Earth Engine name their columns."""
    short = [band.replace("B0", "B") for band in BANDS]
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        days = [np.datetime64("2021-01-01") + np.timedelta64(int(doy - 1), "D") for doy in arrays["doy"]]
        looks = [f"{str(day).replace('-', '')}T105441_20210101T1_T31UES" for day in days]
        bands = [f"{look}_{band}" for look in looks for band in (*short, "SCL")]
        writer.writerow(["system:index", *bands, "crop", ".geo"])
        for row, values in enumerate(arrays["s2"]):
            cells: list[object] = []
            for date, one in enumerate(values):
                seen = arrays["mask"][row, date]
                cells += [one[k] * scale if seen else "" for k in range(10)] + [4 if seen else 9]
            lon, lat = arrays["lonlat"][row].tolist()
            geo = json.dumps({"type": "Point", "coordinates": [lon, lat]})
            writer.writerow([row, *cells, arrays["class_names"][arrays["label"][row]], geo])


def long_table(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["id", "date", *BANDS, "VV", "VH", "orbitProperties_pass", "label", "lon", "lat"])
        for row, values in enumerate(arrays["s2"]):
            place = [arrays["class_names"][arrays["label"][row]], *arrays["lonlat"][row].tolist()]
            for date, one in enumerate(values):
                if arrays["mask"][row, date]:
                    day = np.datetime64("2021-01-01") + np.timedelta64(int(arrays["doy"][date] - 1), "D")
                    writer.writerow([row, day, *one.tolist(), "", "", "", *place])
            writer.writerow([row, "2021-03-01", *[""] * 10, -10.5, -17.0, "DESCENDING", *place])


@pytest.mark.parametrize("kind", ["wide", "fractions", "long"])
def test_tables_of_earth_engine_hold_what_the_arrays_hold(tmp_path: Path, kind: str) -> None:
    arrays = pixels(30)
    if kind == "long":
        long_table(tmp_path / "t.csv", arrays)
    else:
        wide_table(tmp_path / "t.csv", arrays, 1e-4 if kind == "fractions" else 1.0)
    np.savez(tmp_path / "t.npz", **arrays)
    table, file = labelled.read_series_table(tmp_path / "t.csv"), labelled.read_npz(tmp_path / "t.npz")
    np.testing.assert_array_equal(table.reference.y, file.reference.y)
    np.testing.assert_array_equal(table.reference.groups, file.reference.groups)
    np.testing.assert_allclose(table.xy, file.xy)
    ours, theirs = (monthly_statistics(p.tile, p.reference.rows, p.reference.cols) for p in (table, file))
    np.testing.assert_allclose(ours[:, : theirs.shape[1]], theirs, atol=1)
    if kind == "long":
        assert table.tile.sar_desc[:, :, 0].tolist() == [[[5800, 3200]] * 30]
        assert table.tile.doys_desc.tolist() == [60]


def test_a_table_of_two_years_is_refused(tmp_path: Path) -> None:
    lines = ["id,date," + ",".join(BANDS) + ",label,lon,lat"]
    lines += [f"{i},{year}-05-01,{','.join(['900'] * 10)},a,5.0,50.0" for i, year in enumerate((2020, 2021))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    with pytest.raises(LabelError, match="2020 and 2021"):
        labelled.read_series_table(tmp_path / "t.csv")


def test_a_folder_without_labels_or_series_says_so(tmp_path: Path) -> None:
    (tmp_path / "legend.csv").write_text("code,name\n1,maize\n")
    with pytest.raises(InputError, match="holds no labelled time series"):
        labelled.read_places([tmp_path])


# ------------------------------------------------------------------ ground and labels


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_groups_are_never_parted_and_classes_are_spread(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 60))
    groups = np.unique(data.draw(st.lists(st.integers(0, 20), min_size=n, max_size=n)), return_inverse=True)[1]
    y = np.array(data.draw(st.lists(st.integers(1, 4), min_size=n, max_size=n)))
    parts = data.draw(st.integers(2, 4))
    part = peers.deal(y, groups, parts, np.random.default_rng(0))
    assert ((part >= 0) & (part < parts)).all()
    assert all(len(np.unique(part[groups == g])) == 1 for g in np.unique(groups))
    # The rarest class is dealt first, so its groups lie as evenly as they can.
    rare = min(np.unique(y), key=lambda k: (len(np.unique(groups[y == k])), k))
    held = np.unique(groups[y == rare])
    counts = np.bincount([part[groups == g][0] for g in held], minlength=parts)
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("hold_out", ["zones", "cells"])
def test_labels_lie_on_other_ground_and_the_few_are_among_the_many(place: labelled.RealPlace, hold_out: str) -> None:
    setting = real.Setting(hold_out, (1, 3, 20), 4)
    for draw in range(4):
        part = real.parts_of(place, setting, draw)
        assert set(part) == {0, 1}
        for judged in (0, 1):
            taught = real.labels_of(place, part, judged, setting.counts, np.random.default_rng(draw))
            assert [len(rows) for rows in taught] == [2, 6, 40]
            assert set(taught[0]) < set(taught[1]) < set(taught[2])
            assert (part[taught[2]] != judged).all()
            if hold_out == "cells":
                groups = place.reference.groups
                assert not set(groups[taught[2]]) & set(groups[part == judged])
            # Three labels of a class come from three cells.
            three = place.reference.groups[taught[1]][place.reference.y[taught[1]] == 1]
            assert len(np.unique(three)) == 3


def test_zones_are_cut_both_ways(place: labelled.RealPlace) -> None:
    setting = real.Setting("zones")
    for draw, axis in ((0, 1), (1, 0)):
        part = real.parts_of(place, setting, draw)
        assert place.xy[part == 0, axis].max() < place.xy[part == 1, axis].min()


def test_of_too_many_pixels_as_many_of_every_group_are_kept(place: labelled.RealPlace) -> None:
    few = place.at_most(48)
    assert len(few) == 48
    assert len(np.unique(few.reference.groups)) == len(np.unique(place.reference.groups))
    assert few.vectors["theirs"].shape[0] == 48
    assert place.at_most(1000) is place
    at = few.reference.rows
    np.testing.assert_array_equal(few.reference.y, place.reference.y[at])


# ------------------------------------------------------------------ scores


def test_macro_f1_is_that_of_scikit_learn(place: labelled.RealPlace) -> None:
    rng = np.random.default_rng(1)
    said = rng.integers(1, 3, (3, 2, len(place))).astype(np.uint8)
    scores = real.macro_f1(real.confusions(place, said).sum(2))
    for draw in range(3):
        for number in range(2):
            expected = f1_score(place.reference.y, said[draw, number], average="macro")
            assert scores[draw, number] == pytest.approx(expected)


def test_unsaid_pixels_count_as_wrong(place: labelled.RealPlace) -> None:
    said = np.tile(place.reference.y, (1, 1, 1)).astype(np.uint8)
    assert real.macro_f1(real.confusions(place, said).sum(2)).item() == 1
    said[..., ::2] = 0
    assert real.macro_f1(real.confusions(place, said).sum(2)).item() < 0.8


def test_a_method_that_is_better_everywhere_has_an_interval_above_zero(place: labelled.RealPlace) -> None:
    setting = real.Setting("cells", (1,), 4)
    truth = np.tile(place.reference.y, (4, 1, 1)).astype(np.uint8)
    rng = np.random.default_rng(2)
    half = np.where(rng.random(truth.shape) < 0.6, truth, 3 - truth).astype(np.uint8)
    told = real.summary(place, {"good": ("embedding", truth), "poor": ("raw", half)}, setting)
    good, poor = told["rows"]
    assert good["macro_f1"] == 1
    assert good["difference_interval"][0] > 0.2
    assert poor["difference"] == 0
    assert poor["difference_interval"] == [0, 0]
    assert good["best_raw"] == "poor"
    (verdict,) = told["verdict"]
    assert verdict["sentence"] == "With 1 label a class the best is good (1.000), ahead of all others beyond chance."
    twin = real.summary(place, {"one": ("embedding", half), "poor": ("raw", half)}, setting)
    assert twin["verdict"][0]["as_good"] == ["poor"]


def test_methods_are_compared_with_a_named_one_under_the_same_head(place: labelled.RealPlace) -> None:
    setting = real.Setting("cells", (1, 5), 4)
    truth = np.tile(place.reference.y, (4, 2, 1)).astype(np.uint8)
    half = np.where(np.random.default_rng(2).random(truth.shape) < 0.6, truth, 3 - truth).astype(np.uint8)
    some = half.copy()
    some[:, 1] = truth[:, 1]
    said = {"new, means": ("embedding", some), "old, means": ("embedding", half), "old, forest": ("raw", truth)}
    told = real.summary(place, said, setting, ["old"])["ahead"]
    ours = {(row["of"], row["labels"]): row for row in told if row["method"] == "new, means"}
    assert [ours["old", n]["difference"] > 0.2 for n in (1, 5, "mean")] == [False, True, True]
    assert ours["old", 1]["interval"] == [0, 0]
    assert ours["old", 5]["interval"][0] > 0.2
    assert ours["old", "mean"]["difference"] == pytest.approx(ours["old", 5]["difference"] / 2, abs=1e-4)
    assert ours["the best raw method", 5]["difference"] == 0
    # Nothing is compared with itself, and the raw method is the rival of all others.
    assert {(row["of"], row["method"]) for row in told} == {
        ("old", "new, means"),
        ("the best raw method", "new, means"),
        ("the best raw method", "old, means"),
    }


def test_two_weights_of_one_name_are_told_apart(place: labelled.RealPlace, nano) -> None:
    few = place.at_most(4)
    told = real.features_of(few, [nano, replace(nano, sha256="0" * 64)], joined=False)
    assert [one.name for one in told[:2]] == [f"studio-nano {nano.sha256[:8]}", "studio-nano 00000000"]
    assert real.features_of(few, [nano], joined=False)[0].name == "studio-nano"


def test_the_half_that_no_training_read_is_every_second_block_or_field(place: labelled.RealPlace) -> None:
    other = labelled.unseen_half(place)
    assert set(np.floor(other.xy / 0.3).astype(int).sum(1) % 2) == {1}
    assert len(other) + halves.taught_blocks(place.xy).sum() == len(place)
    codes = np.zeros((24, 24), int)
    codes[2:9, 2:9], codes[2:7, 12:16], codes[14:18, 2:6] = 7, 7, 7
    codes[14:22, 12:22] = 9
    taught = halves.taught_ground(codes)
    # Of three fields of 7 the middle one is read; the one field of 9 is judged. Ground beside judged fields is not read.
    assert taught[2:7, 12:16].all()
    assert not taught[2:9, 2:9].any()
    assert not taught[14:18, 2:6].any()
    assert not taught[13:23, 11:23].any()
    assert 0 < taught[codes == 0].sum() < (codes == 0).sum() / 2


def test_of_a_tile_no_pixel_is_judged_that_its_outlines_gave_to_training(tmp_path: Path) -> None:
    codes = np.zeros((24, 24), np.uint8)
    codes[2:9, 2:9], codes[2:7, 12:16], codes[14:22, 12:22] = 7, 7, 9
    # Labels of another kind, whose one field joins ground of both halves.
    rows, cols = (one.ravel() for one in np.indices((24, 24)))
    everywhere, series = np.ones(len(rows), np.int32), pixels(len(rows))
    np.savez(tmp_path / "t.npz", **series | {"label": np.zeros(len(rows), np.int8)})
    apart = labelled.read_npz(tmp_path / "t.npz")
    with pytest.raises(LabelError, match="degrees"):
        labelled.unseen_half(replace(apart, xy=apart.xy * 1e4))
    square = replace(apart.tile, **{
        name: getattr(apart.tile, name).reshape(-1, 24, 24, *getattr(apart.tile, name).shape[3:])
        for name in ("bands", "masks", "sar_asc", "sar_desc")
    }, grid=Grid.local((24, 24)))  # fmt: skip
    reference = replace(apart.reference, rows=rows, cols=cols, y=everywhere, groups=everywhere)
    tile = replace(apart, tile=square, reference=reference, whole="fields", outlines=tmp_path / "labels_ct.tif")
    with pytest.raises(LabelError, match=r"no labels_ct\.tif"):
        labelled.unseen_half(tile)
    with rasterio.open(tile.outlines, "w", driver="GTiff", width=24, height=24, count=1, dtype="uint8") as file:
        file.write(codes, 1)
    judged = labelled.unseen_half(tile).reference
    assert len(judged.rows) == int((~halves.taught_ground(codes)).sum())
    assert not halves.taught_ground(codes)[judged.rows, judged.cols].any()


# ------------------------------------------------------------------ peers


def test_the_rival_chooses_a_penalty_by_labels_of_other_groups() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(12), 5)
    y = groups % 2 + 1
    # Within a group all is alike; noise that differs between groups must be shrunk.
    noise = rng.normal(size=(12, 40))[groups] * 2
    x = (noise + 0.01 * rng.normal(size=(60, 40))).astype(np.float32)
    x[:, 0] += 1.5 * (y - 1.5)
    assert peers.TunedLogistic().fit(x, y, groups).alpha_ >= 5
    clear = x.copy()
    clear[:, 0] = 20 * (y - 1.5)
    assert peers.TunedLogistic().fit(clear, y, groups).alpha_ < 5


def test_with_one_group_a_class_the_rival_has_the_usual_penalty() -> None:
    x = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
    assert peers.TunedLogistic().fit(x, np.array([1, 2]), np.array([0, 1])).alpha_ == 5


# ------------------------------------------------------------------ seasons


def test_the_yearly_wave_says_when_it_is_green(place: labelled.RealPlace) -> None:
    seasons = seasonal_statistics(place.tile, place.reference.rows, place.reference.cols)
    months = monthly_statistics(place.tile, place.reference.rows, place.reference.cols)
    assert np.isfinite(seasons).all()
    count = months.shape[1] // 10
    np.testing.assert_array_equal(seasons[:, : months.shape[1]], months)
    waves = seasons[:, months.shape[1] :].reshape(len(place), 5, 3)
    assert waves.shape[1:] == (5, 3)
    assert count == 12
    # The peak of NDVI, from amplitude and phase of the first harmonic, in days.
    peak = np.arctan2(waves[:, 2, 0], waves[:, 1, 0]) / (2 * np.pi) % 1 * 365
    spring, summer = (np.median(peak[place.reference.y == k]) for k in (1, 2))
    assert abs(spring - 150) < 15
    assert abs(summer - 220) < 15


def test_standardised_numbers_keep_gaps_and_are_cut() -> None:
    values = np.array([[0.0], [1.0], [2.0], [1000.0], [np.nan]], np.float32)
    mean, spread = np.array([1.0]), np.array([1.0])
    assert np.isnan(standardised(values)[4, 0])
    assert standardised(values, mean, spread).ravel()[:4].tolist() == [-1, 0, 1, 5]


# ------------------------------------------------------------------ the whole


def test_a_study_writes_its_tables_and_goes_on(tmp_path: Path, file: Path, nano, monkeypatch) -> None:
    place, setting = labelled.read_npz(file), real.Setting("cells", (1, 8), 2)
    result = real.run([place], [nano], tmp_path, setting, heads=("means",))
    (told,) = result["places"]
    methods = {row["method"]: row for row in told["rows"] if row["labels"] == 8}
    assert set(methods) == {
        f"{name}, class means"
        for name in (
            "studio-nano",
            "theirs",
            "studio-nano + seasons",
            "theirs + seasons",
            "monthly medians",
            "seasonal statistics",
        )
    }
    assert methods["monthly medians, class means"]["macro_f1"] > 0.9
    assert methods["studio-nano + seasons, class means"]["macro_f1"] > 0.9
    assert "ahead of the best raw method" in (tmp_path / "real.md").read_text()
    with (tmp_path / "real.csv").open() as table:
        assert len(list(csv.DictReader(table))) == 12
    assert (tmp_path / "real.png").read_bytes().startswith(b"\x89PNG")

    def never(*_: object) -> None:
        raise AssertionError("what is kept is not done again")

    monkeypatch.setattr(real, "judge", never)
    monkeypatch.setattr(real, "embed", never)
    assert real.run([place], [nano], tmp_path, setting, heads=("means",))["places"] == result["places"]


def test_an_encoder_of_ones_own_is_compared(tmp_path: Path, file: Path, capsys) -> None:
    code = """
class Months:
    name, dim, wants = "months", 12, "monthly"
    def embed(self, pixels):
        return pixels.s2[..., 3] / 1e4
"""
    (tmp_path / "mine.py").write_text(code)
    words = [
        "study",
        "real",
        str(file),
        "--out",
        str(tmp_path / "o"),
        "--seeds",
        "2",
        "--counts",
        "5",
        "--heads",
        "means",
    ]
    assert main([*words, "--no-joined", "--encoder", f"{tmp_path / 'mine.py'}:Months"]) == 0
    assert "| months, class means |" in capsys.readouterr().out
    assert main([*words, "--encoder", f"{tmp_path / 'mine.py'}:Nobody"]) == 2


def test_the_command_reads_a_folder_and_tells_mistakes(tmp_path: Path, file: Path, capsys) -> None:
    words = ["study", "real", str(file), "--out", str(tmp_path / "o"), "--seeds", "2", "--counts", "2"]
    assert main([*words, "--heads", "means", "--no-joined"]) == 0
    assert "monthly medians, class means" in capsys.readouterr().out
    assert main(["study", "real", "--out", str(tmp_path / "o")]) == 2
    assert main(["study", "labels", str(file), "--out", str(tmp_path / "o")]) == 2
    both = [*words, "--heads", "means", "--no-joined", "--unseen-half", "--against"]
    assert main([*both, "theirs"]) == 0
    assert "ahead of theirs, points" in capsys.readouterr().out
    assert main([*both, "ours"]) == 2
    assert "nothing called 'ours' to compare with; there are studio-nano, theirs," in capsys.readouterr().err
    assert main([*words[:-1], "none"]) == 2
    assert main([*words, "--heads", "magic"]) == 2


def test_the_belgian_fields_are_a_place(shared: Path) -> None:
    (place,) = labelled.read_places(
        [shared / "data/belgium-2018/dpixel"], shared / "data/belgium-2018/dpixel/labels_ct.tif"
    )
    fields = place.only(["1200", "9120"]).with_fields_for(4)
    assert len(fields) == 1249 + 835
    assert len(np.unique(fields.reference.groups)) == 13
    assert place.whole == "fields"


def test_an_encoder_of_places_is_told_where_pixels_lie(place: labelled.RealPlace) -> None:
    class Places:
        name, dim, wants, fingerprint = "places", 2, "monthly", "1"

        def embed(self, pixels: PixelYears) -> np.ndarray:
            return pixels.lonlat - (5.3, 50.2)

    features = real.features_of(place, [checked(Places(), "here")], joined=False)
    known = next(one.values for one in features if one.name == "places")
    # int8 with a scale a pixel.
    np.testing.assert_allclose(known, place.xy - (5.3, 50.2), atol=0.003)
