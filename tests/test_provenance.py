import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.errors import MixedDatasetsError, RasterError
from tessera_core.provenance import Provenance

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)
PROVENANCES = st.builds(
    Provenance,
    model=st.text(max_size=10),
    version=st.text(max_size=10),
    variant=st.text(max_size=10),
    dim=st.integers(1, 2048),
    year=st.none() | st.integers(1970, 2100),
    source=st.text(max_size=10),
    software=st.text(max_size=10),
    checksum=st.text(max_size=10),
    details=st.dictionaries(st.text(max_size=8), JSON, max_size=3),
)


@given(PROVENANCES)
@settings(deadline=None)
def test_it_survives_json(provenance):
    assert Provenance.from_json(json.loads(json.dumps(provenance.to_json()))) == provenance


def test_stacked_embeddings_of_an_earlier_version_are_the_same_dataset():
    now = Provenance(model="stack", variant="a (8-d) + b (8-d)", dim=16)
    Provenance.from_json(now.to_json() | {"model": "fusion"}).require_same_dataset(now)


@given(PROVENANCES)
@settings(deadline=None)
def test_tags_are_flat_texts(provenance):
    tags = provenance.tags()
    assert all(isinstance(key, str) and isinstance(value, str) and value for key, value in tags.items())
    assert tags["tessera_dim"] == str(provenance.dim)
    assert "tessera_details" not in tags


@pytest.mark.parametrize(
    ("provenance", "name"),
    [
        (Provenance("tessera", "2.0", "2B-L"), "tessera 2.0/2B-L (128-d)"),
        (Provenance("tessera", "2.0", "2B-L", dim=32), "tessera 2.0/2B-L (32-d)"),
        (Provenance("alphaearth", dim=64), "alphaearth (64-d)"),
        (Provenance(), "unknown (128-d)"),
    ],
)
def test_the_dataset_has_a_name(provenance, name):
    assert provenance.dataset == name


def test_two_years_of_one_dataset_may_mix_and_two_datasets_may_not():
    first = Provenance("tessera", "2.0", "2B-L", year=2023, source="generated")
    first.require_same_dataset(Provenance("tessera", "2.0", "2B-L", year=2024, source="npy tiles"))
    for other in (Provenance("tessera", "1.1", "mpc"), Provenance("tessera", "2.0", "2B-L", dim=64)):
        with pytest.raises(MixedDatasetsError) as caught:
            first.require_same_dataset(other, "one map")
        assert first.dataset in str(caught.value)
        assert other.dataset in str(caught.value)
        assert "one map" in str(caught.value)


def test_details_are_added_to_a_copy():
    first = Provenance(details={"a": 1})
    assert first.with_details(b=2).details == {"a": 1, "b": 2}
    assert first.details == {"a": 1}


def test_keys_of_a_newer_version_are_kept():
    got = Provenance.from_json({"model": "tessera", "resolution": 10, "details": {"a": 1}})
    assert got.details == {"a": 1, "resolution": 10}


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "text",
        {"details": [1]},
        {"details": "x"},
        {"dim": "many"},
        {"dim": None},
        {"dim": 0},
        {"dim": True},
        {"year": "2023x"},
        {"year": [1]},
        {"model": None},
        {"model": 3},
        {"version": 2.0},
        {"checksum": {}},
    ],
)
def test_anything_else_is_refused(value):
    with pytest.raises(RasterError, match="provenance"):
        Provenance.from_json(value)
