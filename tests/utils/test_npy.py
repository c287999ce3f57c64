import io
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tessera_core._utils.npy import load_npy
from tessera_core.errors import LabelError, RasterError


def header(text, version=(1, 0)):
    body = text.encode("latin1")
    pad = -(len(body) + 11) % 64
    body += b" " * pad + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", len(body)) + body


@given(hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=4, max_side=4)))
@settings(max_examples=80, deadline=None)
def test_what_numpy_saves_is_read_back(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    np.save(path, array)
    got = load_npy(path)
    assert got.dtype == array.dtype
    assert got.shape == array.shape
    assert got.tobytes() == array.tobytes()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format(tmp_path, version):
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, np.arange(6).reshape(2, 3), version=version)
    np.testing.assert_array_equal(load_npy(tmp_path / "a.npy"), [[0, 1, 2], [3, 4, 5]])


def test_fortran_order_and_empty_arrays(tmp_path):
    array = np.asfortranarray(np.arange(12).reshape(3, 4))
    np.save(tmp_path / "f.npy", array)
    np.testing.assert_array_equal(load_npy(tmp_path / "f.npy"), array)
    np.save(tmp_path / "e.npy", np.empty((0, 5, 2), np.int16))
    assert load_npy(tmp_path / "e.npy").shape == (0, 5, 2)


def test_large_arrays_stay_on_disk(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((10, 10)))
    assert isinstance(load_npy(tmp_path / "a.npy"), np.memmap)
    assert not load_npy(tmp_path / "a.npy").flags.writeable
    # Whose file it is: other processes open it by this, and a file that changed is known.
    assert load_npy(tmp_path / "a.npy")[2:].filename == (tmp_path / "a.npy").resolve()


def whole(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is not a NumPy"),
        (b"\x93NUMPY", "is not a NumPy"),
        (b"hello, this is text", "is not a NumPy"),
        (pickle.dumps({"a": 1}), "is not a NumPy"),
        (b"\x93NUMPY\x09\x00" + bytes(100), "is not a NumPy"),
        (whole(np.arange(100))[:-1], "cut short: 927 of 928 bytes"),
        (whole(np.arange(100))[:100], "cut short|is not a NumPy"),
        (header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}") + bytes(99), "pickled Python objects"),
        (
            header("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}") + bytes(99),
            "pickled Python objects",
        ),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (-4,)}") + bytes(99), "is not a NumPy"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -2)}") + bytes(99), "is not a NumPy"),
        (header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**32}, {2**32})}}") + bytes(99), "cut short"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}") + bytes(99), "is not a NumPy"),
        (header("{'descr': '<f4', 'shape': (1,)}") + bytes(99), "is not a NumPy"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': 'x'}") + bytes(99), "is not a NumPy"),
        (header("{'descr': 'nonsense', 'fortran_order': False, 'shape': (1,)}") + bytes(99), "is not a NumPy"),
        (header("__import__('os').abort()") + bytes(99), "is not a NumPy"),
        (header("(" * 3000) + bytes(99), "is not a NumPy"),
    ],
)
def test_one_sentence_for_each_thing_that_is_wrong(tmp_path, content, match):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(RasterError, match=match) as caught:
        load_npy(path)
    assert "a.npy" in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_file_is_an_array_or_an_error_of_ours(tmp_path_factory, data):
    content = bytearray(whole(np.arange(24, dtype=np.int16).reshape(2, 3, 4)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 127))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        got = load_npy(path)
    except RasterError:
        return
    assert isinstance(got, np.ndarray)


def test_a_missing_file_is_named_and_the_error_can_be_chosen(tmp_path):
    with pytest.raises(RasterError, match=r"a\.npy is missing in "):
        load_npy(tmp_path / "a.npy")
    with pytest.raises(LabelError):
        load_npy(tmp_path, LabelError)
