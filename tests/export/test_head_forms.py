"""A head means the same wherever it is taken: JSON and the reader in the docs, ONNX, Earth Engine, QGIS's raster calculator."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.errors import HeadError, InputError, MixedDatasetsError
from tessera_core.export.head_formula import ENDINGS, earth_engine, raster_calculator, write_head
from tessera_core.export.onnx import onnx_bytes
from tessera_core.heads import Head, PortableHead, load_head, make_head, make_regression_head, read_portable, save_head
from tessera_core.provenance import Provenance
from tests.factories import landscape, quantised

LINEAR = ("prototype", "ridge", "logistic")
QUICK: dict[str, dict[str, Any]] = {"mlp": {"hidden": (12, 8), "steps": 60, "epochs": 1, "learning_rate": 0.03}}
ALPHAEARTH = Provenance("alphaearth", "1", "", dim=64, year=2023)


@cache
def pixels(dim: int = 64) -> tuple[Any, Any]:
    """Codes (N, D) and scales (N,) of a landscape, some without data."""
    values = landscape(24, classes=3, dim=dim).sample(*np.divmod(np.arange(24 * 24), 24))
    codes, scales = quantised(np.nan_to_num(values) + 1e-3)
    scales[::17] = np.nan
    return codes, scales


@cache
def fitted(name: str, classes: int = 3, temperature: float = 1.0) -> Head:
    codes, scales = pixels()
    x = codes * scales[:, None]
    kind = np.argsort(np.argsort(np.nan_to_num(x)[:, :3].sum(1))) * classes // len(x)
    ids = np.array([2, 7, 9])[kind]
    draw = np.random.default_rng(0).choice(np.flatnonzero(np.isfinite(scales)), 90, replace=False)
    head = make_head(name, **QUICK.get(name, {})).fit(x[draw], ids[draw])
    return head if temperature == 1 else head.temperature_scaled(temperature)


def carried(name: str, classes: int = 3, temperature: float = 1.0, **more: Any) -> PortableHead:
    names = {2: "Water, deep", 7: 'Wood "old"\n', 9: "Feld / Äcker"}
    colors = {2: "#1658a8", 7: "#06480c", 9: "#ffec4b"}
    return PortableHead.of(fitted(name, classes, temperature), names, ALPHAEARTH, colors=colors, **more)


def same(head: Head, ids: Any, percent: Any, empty: bool = False) -> None:
    """Classes equal, confidence within one percent, where there is data (or everywhere)."""
    codes, scales = pixels()
    wanted, sure = head.predict_codes(codes, scales)
    where = slice(None) if empty else wanted > 0
    assert np.array_equal(np.asarray(ids)[where], wanted[where])
    known = wanted > 0
    assert np.abs(np.asarray(percent, float)[known] - sure[known]).max() <= 1
    assert len(np.unique(wanted)) > 2 or len(head.classes_) < 3


FORMS = [(name, temperature) for name in (*LINEAR, "mlp") for temperature in (1.0, 2.5)]


@pytest.mark.parametrize(("name", "temperature"), FORMS)
def test_json_brings_the_same_head_back_and_the_reader_of_the_docs_maps_the_same(
    name: str, temperature: float, tmp_path: Path, root: Path
) -> None:
    head, card = fitted(name, 3, temperature), {"labels": {"Water, deep": 30}, "score": {"interval": [0.5, 0.9]}}
    file = carried(name, 3, temperature, card=card, seen={"home": np.array([np.nan, 0.25])}).write(
        tmp_path / "head.json"
    )
    back = read_portable(file)
    for (weight, bias), (other, last) in zip(back.layers, carried(name, 3, temperature).layers, strict=True):
        assert np.array_equal(weight, other)
        assert np.array_equal(bias, last)
    assert back.card == card
    assert [(c.id, c.color) for c in back.classes] == [(2, "#1658a8"), (7, "#06480c"), (9, "#ffec4b")]
    assert np.isnan(back.seen["home"][0])
    assert back.provenance == ALPHAEARTH

    codes, scales = pixels()
    again = load_head(file)
    assert again.classification is not None
    assert type(again.head) is type(head)
    assert again.classification.applied_temperature_ == pytest.approx(head.applied_temperature_)
    ids, percent = again.classification.predict_codes(codes, scales)
    same(head, ids, percent, empty=True)
    # And once more: nothing wears off.
    assert (
        PortableHead.of(again.head, again.class_names, again.provenance).to_json()["layers"] == back.to_json()["layers"]
    )

    page = (root / "docs" / "howto" / "portable.md").read_text(encoding="utf-8")
    reader: dict[str, Any] = {}
    exec(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[0], reader)
    read = reader["read_head"](file, ALPHAEARTH.dataset)
    usable = np.isfinite(scales)
    found, sure = reader["classify"](read, codes[usable] * scales[usable, None])
    whole, sures = np.zeros(len(codes), np.uint8), np.zeros(len(codes))
    whole[usable], sures[usable] = found, sure
    same(head, whole, sures)
    with pytest.raises(ValueError, match="not for tessera"):
        reader["read_head"](file, "tessera 1.1 (128-d)")


@pytest.mark.parametrize(("name", "temperature"), FORMS)
def test_an_onnx_runtime_maps_the_same(name: str, temperature: float, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    head = fitted(name, 3, temperature)
    file = write_head(tmp_path / "head.onnx", carried(name, 3, temperature))
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    codes, scales = pixels()
    ids, proba, sure = session.run(None, {"codes": codes, "scales": scales[:, None].astype(np.float32)})
    assert ids.dtype == np.int32
    same(head, ids, 100 * sure, empty=True)
    usable = np.isfinite(scales)
    x = (codes * scales[:, None]).astype(np.float32)[usable]
    assert np.abs(proba[usable] - head.predict_proba(x)).max() < 0.01
    plain = runtime.InferenceSession(
        onnx_bytes(carried(name, 3, temperature), quantised=False), providers=["CPUExecutionProvider"]
    )
    assert np.array_equal(plain.run(["class_id"], {"embeddings": x})[0], ids[usable])
    told = session.get_modelmeta().custom_metadata_map
    assert [one["id"] for one in json.loads(told["classes"])] == [2, 7, 9]
    assert json.loads(told["dataset"]) == ALPHAEARTH.dataset


# What the script uses of Earth Engine, as its documentation says it: an image of one pixel is a list of its bands.
EARTH_ENGINE = """
const fs = require('fs');
const told = JSON.parse(fs.readFileSync(0, 'utf8'));
const ee = {Reducer: {sum: () => 'sum', max: () => 'max'}};
function both(a, b, f) {
  const n = Math.max(a.length, b.length);
  if (a.length !== n && a.length !== 1 || b.length !== n && b.length !== 1) throw new Error('bands differ');
  return Array.from({length: n}, (_, i) => f(a[a.length === 1 ? 0 : i], b[b.length === 1 ? 0 : i]));
}
function at(list, one) {
  const i = list.indexOf(one);
  if (i < 0) throw new Error('there is no ' + one);
  return i;
}
class Image {
  constructor(bands, names) { this.bands = bands; this.names = names || bands.map((_, i) => 'b' + i); }
  of(other, f) { return new Image(both(this.bands, other instanceof Image ? other.bands : [other], f), this.names); }
  select(names) {
    names = [].concat(names);
    return new Image(names.map(n => this.bands[at(this.names, n)]), names);
  }
  multiply(o) { return this.of(o, (a, b) => a * b); }
  add(o) { return this.of(o, (a, b) => a + b); }
  subtract(o) { return this.of(o, (a, b) => a - b); }
  divide(o) { return this.of(o, (a, b) => a / b); }
  exp() { return new Image(this.bands.map(Math.exp), this.names); }
  reduce(r) { return new Image([r === 'sum' ? this.bands.reduce((a, b) => a + b, 0) : Math.max(...this.bands)], [r]); }
  rename(n) { return new Image(this.bands, [n]); }
  addBands(o) { return new Image(this.bands.concat(o.bands), this.names.concat(o.names)); }
  toArray() {
    const best = this.bands.indexOf(Math.max(...this.bands));
    return {arrayArgmax: () => ({arrayGet: place => new Image([[best][place[0]]])})};
  }
  remap(from, to) { return new Image(this.bands.map(v => to[at(from, v)]), this.names); }
}
ee.Image = {constant: v => new Image([].concat(v)), cat: list => new Image(list.flatMap(i => i.bands))};
const shown = [];
const names = Array.from({length: told.pixels[0].length}, (_, i) => 'A' + String(i).padStart(2, '0'));
const year = new Image(told.pixels[0], names);
ee.ImageCollection = name => ({filterDate: (a, b) => {
  shown.push(name, a, b);
  return {filterBounds: () => ({mosaic: () => year})};
}});
const Map = {getBounds: () => ({}), addLayer: (image, style, name) => shown.push([name, style])};
const classify = new Function('ee', 'Map', told.script + '\\nreturn classify;')(ee, Map);
const maps = told.pixels.map(p => classify(new Image(p, names)));
const found = maps.map(m => [m.select('class').bands[0], m.select('confidence').bands[0]]);
console.log(JSON.stringify({found, shown}));
"""


@pytest.mark.parametrize("name", LINEAR)
def test_earth_engine_s_script_maps_the_same(name: str) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    codes, scales = pixels()
    usable = np.flatnonzero(np.isfinite(scales))
    x = (codes[usable] * scales[usable, None]).astype(np.float32)
    card = {"score": {"sentences": ["About 90 % right\u2028alert(1)"]}}
    told = {"script": earth_engine(carried(name, 3, 2.5, card=card)), "pixels": x.tolist()}
    done = subprocess.run(
        [node, "-e", EARTH_ENGINE], input=json.dumps(told), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    ids, percent = np.zeros(len(codes), int), np.zeros(len(codes))
    ids[usable], percent[usable] = np.array(answer["found"]).T
    same(fitted(name, 3, 2.5), ids, percent)
    assert answer["shown"][:3] == ["GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL", "2023-01-01", "2024-01-01"]
    assert answer["shown"][3][1]["palette"] == ["1658a8", "06480c", "ffec4b"]


def calculated(expression: str, bands: dict[str, Any]) -> Any:
    """What a raster calculator makes of an expression: only what every one of them has, on arrays."""
    assert re.fullmatch(r'[0-9.+\-*/^()>\s"A-Za-z@]*', expression)
    assert not re.search(r"\d[eE][+-]?\d", expression)
    python = re.sub(r'"([^"]+)"', lambda band: f"bands[{band[1]!r}]", expression).replace("^", "**")
    return eval(python, {"bands": bands, "abs": np.abs})


@pytest.mark.parametrize("name", LINEAR)
def test_the_raster_calculator_s_expression_maps_the_same(name: str) -> None:
    head = fitted(name, 2)
    codes, scales = pixels()
    x = (codes * np.nan_to_num(scales)[:, None]).astype(np.float64)
    lines = [line for line in raster_calculator(carried(name, 2)).splitlines() if line and not line.startswith("#")]
    bands = {f"embeddings@{band + 1}": x[:, band] for band in range(x.shape[1])}
    ids, percent = (calculated(line, bands) for line in lines)
    same(head, ids, percent)
    other = raster_calculator(carried(name, 2), "my layer")
    assert '"my layer@64"' in other


def test_what_cannot_be_carried_says_so_in_a_sentence(few_trees: None, tmp_path: Path) -> None:
    codes, scales = pixels()
    x, y = (codes * scales[:, None])[1:60], np.repeat([1, 2], 30)[:59]
    for name, params in (("forest", {}), ("boosting", {"rounds": 3}), ("knn", {})):
        with pytest.raises(HeadError, match=r"not a formula that other programs could run\. Take class means.*\.$"):
            PortableHead.of(make_head(name, **params).fit(x, y), {}, ALPHAEARTH)
    around = landscape(12, classes=2, dim=16)
    rows, cols = np.divmod(np.arange(144), 12)
    near = make_head("ridge", neighbourhood=3).fit_at(around, rows, cols, 1 + (rows > 5))
    with pytest.raises(HeadError, match="surroundings"):
        PortableHead.of(near, {}, around.provenance)
    numbers = make_regression_head("ridge-regression").fit(np.nan_to_num(x), np.arange(59.0))
    with pytest.raises(HeadError, match="maps numbers"):
        PortableHead.of(numbers, {}, ALPHAEARTH)
    with pytest.raises(InputError, match="two classes, this one has 3"):
        raster_calculator(carried("ridge"))
    with pytest.raises(InputError, match="too long a formula"):
        earth_engine(carried("mlp"))
    elsewhere = PortableHead.of(fitted("ridge"), {}, Provenance("tessera", "1.1", dim=64))
    with pytest.raises(InputError, match="not there"):
        earth_engine(elsewhere)
    with pytest.raises(InputError, match="layer"):
        raster_calculator(carried("ridge", 2), 'a"b')
    with pytest.raises(InputError, match="should end in"):
        write_head(tmp_path / "head.docx", carried("ridge"))
    assert not list(tmp_path.iterdir())
    assert set(ENDINGS) == {".json", ".onnx", ".js", ".txt"}


def test_a_saved_head_refuses_another_dataset(tmp_path: Path) -> None:
    from tessera_core import api

    raster = landscape(16, classes=2, dim=64)
    file = save_head(tmp_path / "head.json", fitted("ridge"), {}, ALPHAEARTH)
    with pytest.raises(MixedDatasetsError):
        api.map_classes(raster, head=load_head(file))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_stranger_s_json_is_a_head_or_a_sentence(data: st.DataObject) -> None:
    told = json.loads(json.dumps(carried("ridge").to_json()))
    anything = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.just([]),
        st.just({}),
        st.just([[1, 2], [3]]),
    )
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        keys = value.keys() if isinstance(value, dict) else range(min(len(value), 3)) if isinstance(value, list) else ()
        for key in list(keys):
            places.append((value, key))
            walk(value[key])

    changed = copy.deepcopy(told)
    walk(changed)
    for _ in range(data.draw(st.integers(1, 3))):
        where, key = data.draw(st.sampled_from(places))
        where[key] = data.draw(anything)
    try:
        found = PortableHead.from_json(changed)
        found.head()
    except HeadError:
        return
    ids, sure = found.predict(np.zeros((2, found.dim)))
    assert set(ids.tolist()) <= {c.id for c in found.classes}
    assert (sure > 0).all()


def test_the_command_line_takes_a_head_along_and_maps_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tessera_core.cli import main
    from tests.factories import make_project

    raster = landscape(32, classes=2, dim=16)
    project = make_project(tmp_path, raster, classes=("Wood", "Field"))
    for class_id, rows in ((1, (2, 5, 8, 11)), (2, (20, 23, 26, 29))):
        for row in rows:
            x, y = raster.grid.pixel_to_xy(row + 0.5, 4.5 + row % 3)
            project.log.add("point", class_id, [(float(x), float(y))])

    def run(*words: str) -> dict[str, Any]:
        code = main([*words, "--json", "-q"])
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert code == 0, result
        return result

    made = {}
    for ending in (".safetensors", ".json", ".onnx", ".txt"):
        file = tmp_path / f"head{ending}"
        assert run("export", str(project.folder), "--to", "head", "--out", str(file))["files"] == [str(file)]
        assert file.stat().st_size > 200
    for ending in (".safetensors", ".json"):
        out = tmp_path / f"map{ending}.tif"
        run("map", str(project.embeddings_path(2023)), "--use-head", str(tmp_path / f"head{ending}"), "--out", str(out))
        made[ending] = out.read_bytes()
    assert len(made[".json"]) > 500
    card = read_portable(tmp_path / "head.json").card
    assert card["labels"] == {"Wood": 4, "Field": 4}
    assert card["name"] == "Fields"
    assert set(card["score"]) >= {"accuracy", "interval", "sentences"}
    import rasterio

    with rasterio.open(tmp_path / "map.json.tif") as one, rasterio.open(tmp_path / "map.safetensors.tif") as other:
        assert np.array_equal(one.read(1), other.read(1))
    code = main(["export", str(project.folder), "--to", "head", "--out", str(tmp_path / "head.js"), "--json", "-q"])
    assert code == 2
    assert "Earth Engine has the embeddings of AlphaEarth" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert not (tmp_path / "head.js").exists()
