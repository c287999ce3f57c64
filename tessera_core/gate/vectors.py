"""Vector files, opened by GDAL only as what their first bytes say they are, and only if that is one of a few plain formats.

GDAL chooses a driver by content, and many of its drivers open what a file names: other files, databases, addresses. They are
taken out of the library before the first file is read.
"""

from __future__ import annotations

import functools
import json
import re
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tessera_core.errors import InputError, TesseraError
from tessera_core.gate.archives import open_archive
from tessera_core.gate.files import read_head, reason, regular
from tessera_core.gate.limits import amount, limits
from tessera_core.gate.rasters import LOCAL_OPTIONS, first_line

# What is left of GDAL's formats: those read here, and those that exports write.
DRIVERS = ("ESRI Shapefile", "FlatGeobuf", "GPKG", "GeoJSON", "GeoJSONSeq", "KML", "LIBKML", "MEM", "OSM")
# Extracts of OpenStreetMap, which only their own reader asks for (labels/osmfiles).
OSM_ENDINGS = (".osm", ".pbf")
ENDINGS = (".shp", ".gpkg", ".geojson", ".geojsonl", ".json", ".kml", ".kmz", ".fgb")
_SIDES = (".shp", ".shx", ".dbf", ".prj", ".cpg")
_HEAD = 4096
_guard = threading.Lock()


@dataclass(frozen=True)
class VectorLayer:
    """One layer with geometries.

    Attributes:
        name: of the layer.
        crs: as the file declares it; None where it does not.
        wkb: geometry of each feature as bytes, None where it has none.
        columns: name -> values of each attribute, NumPy arrays (N,).
    """

    name: str
    crs: str | None
    wkb: Sequence[bytes | None]
    columns: dict[str, Any]


class Vectors:
    """An open vector file.

    Attributes:
        layers: names of those with geometries.
    """

    def __init__(self, place: Path, name: str, error: type[TesseraError]) -> None:
        import pyogrio

        self._place, self._name, self._error = place, name, error
        self._left = limits().rows
        # A database that others write to must not get files of ours beside it.
        self._options = {"IMMUTABLE": "YES"} if place.suffix.lower() == ".gpkg" else {}
        names = (
            _geopackage_layers(place, name, error)
            if self._options
            else [str(layer) for layer, kind in pyogrio.list_layers(place) if kind is not None]
        )
        self.layers: tuple[str, ...] = tuple(dict.fromkeys(names))

    def read(self, layer: str, *, attributes: bool = True, encoding: str | None = None) -> VectorLayer:
        """The features of a layer, in two dimensions.

        Args:
            layer: one of :attr:`layers`.
            attributes: read the columns too.
            encoding: of its texts; by default as the file says.

        Raises:
            error: (the class given at opening) there are more features than are read here.
            UnicodeDecodeError: the texts are not of that encoding.
        """
        import pyogrio

        self._left -= max(
            0, pyogrio.read_info(self._place, layer=layer, encoding=encoding, **self._options)["features"]
        )
        if self._left < 0:
            raise self._error(f"{self._name} has more than {limits().rows} features, the most that are read here.")
        meta, _, wkb, values = pyogrio.raw.read(
            self._place,
            layer=layer,
            columns=None if attributes else [],
            encoding=encoding,
            force_2d=True,
            datetime_as_string=True,
            **self._options,
        )
        columns = dict(zip(meta["fields"], values, strict=True))
        return VectorLayer(layer, meta["crs"], () if wkb is None else wkb, columns)


@contextmanager
def open_vectors(
    path: str | Path, *, error: type[TesseraError] = InputError, name: str | None = None
) -> Iterator[Vectors]:
    """A vector file, open for reading.

    Args:
        path: a GeoPackage, shapefile, GeoJSON (also one feature a line), KML, KMZ or FlatGeobuf.
        error: class of what is raised.
        name: what to call the file; by default its name.

    Raises:
        error: (the given class) it is none of these, is not readable, refers to something outside it, or is too large.
    """
    path = Path(path)
    name = name or path.name
    with _plain(path, name, error) as place, _gdal():
        from pyogrio.errors import DataLayerError, DataSourceError

        try:
            yield Vectors(place, name, error)
        except (DataSourceError, DataLayerError, ValueError, RecursionError) as cause:
            raise error(f"{name} cannot be read as a vector file: {first_line(cause)}.") from cause


def read_layers(
    path: str | Path, *, error: type[TesseraError] = InputError, attributes: bool = True, name: str | None = None
) -> list[VectorLayer]:
    """All layers with geometries of a vector file, as :func:`open_vectors`."""
    with open_vectors(path, error=error, name=name) as vectors:
        return [vectors.read(layer, attributes=attributes) for layer in vectors.layers]


@contextmanager
def unpacked(path: Path, members: Sequence[str], error: type[TesseraError] = InputError) -> Iterator[dict[str, Path]]:
    """Vector files of an archive with what belongs to them, unpacked for as long as they are read: member -> path.

    Raises:
        error: (the given class) as :func:`tessera_core.gate.archives.open_archive`.
    """
    with tempfile.TemporaryDirectory(prefix="tessera-") as folder, open_archive(path, error=error) as archive:
        wanted = set(members)
        for member in members:
            if member.lower().endswith(".shp"):
                stem = member[:-4].casefold()
                wanted |= {n for n in archive.names if n[:-4].casefold() == stem and n[-4:].lower() in _SIDES}
        try:
            archive.unpack(Path(folder), [name for name in archive.names if name in wanted])
        except OSError as cause:
            raise error(f"{path.name} cannot be unpacked: {reason(cause)}") from cause
        yield {member: Path(folder, member) for member in members}


@contextmanager
def _plain(path: Path, name: str, error: type[TesseraError]) -> Iterator[Path]:
    """The absolute path of a file whose content is what its ending says; a KMZ is unpacked."""
    place = regular(path, error)
    kind = place.suffix.lower()
    head = read_head(place, _HEAD, error)
    if kind == ".kmz" and head.startswith(b"PK"):
        with open_archive(place, name=name, error=error) as archive, tempfile.TemporaryDirectory() as folder:
            kmls = [member for member in archive.names if member.lower().endswith(".kml")]
            if not kmls:
                raise error(f"{name} holds no .kml file.")
            first = next((member for member in kmls if member.lower() == "doc.kml"), kmls[0])
            target = Path(folder, "doc.kml")
            with target.open("wb") as file:
                for chunk in archive.chunks(first):
                    file.write(chunk)
            with _plain(target, f"{first} in {name}", error) as found:
                yield found
        return
    test = _LOOKS.get(kind)
    if test is None:
        raise error(f"{name} is not a vector file that is read here. Known are {', '.join(ENDINGS)}.")
    if not test(head):
        raise error(f"{name} is not a readable {kind} file: what is in it is something else, which is not opened.")
    if kind in (".geojson", ".geojsonl", ".json", ".kml", ".osm") and place.stat().st_size > limits().text_bytes:
        raise error(f"{name} is larger than {amount(limits().text_bytes)}, the most that is read of a text here.")
    if kind in (".geojson", ".geojsonl", ".json") and _refers_to_a_crs(place.read_bytes()):
        raise error(
            f"{name} gives its coordinate system as an address, which is not looked up. Save it with a code (EPSG)."
        )
    yield place


# GDAL compares the beginnings, in either case and either kind of quotes; a backslash may hide any letter.
_ADDRESS_WORDS = re.compile(rb"(?i)[\"']\s*(link|url)|\\u")
_CRS_WORDS = re.compile(rb"(?i)crs|\\u")


def _refers_to_a_crs(text: bytes) -> bool:
    """Whether a GeoJSON names a coordinate system by an address: GDAL would ask there, past its proxy where NO_PROXY allows.

    What Python's stricter parser cannot read, GDAL perhaps can: then words that might be such a name decide.
    """
    if not _ADDRESS_WORDS.search(text) or not _CRS_WORDS.search(text):
        return False
    found = False

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        for key, value in pairs:
            if key.strip().lower() == "crs" and isinstance(value, dict):
                kind = next((inner for name, inner in value.items() if name.strip().lower() == "type"), "")
                found = found or str(kind).strip().lower().startswith(("link", "url"))
        return dict(pairs)

    def readable(part: bytes) -> bool:
        try:
            json.loads(part.decode("utf-8").strip("\ufeff\x1e \t\r\n"), object_pairs_hook=look)
        except (ValueError, RecursionError):
            return False
        return True

    if not readable(text) and not all(readable(line) for line in text.splitlines() if line.strip()):
        return True
    return found


def _is_json(head: bytes) -> bool:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n\x1e").startswith(b"{")


def _is_kml(head: bytes) -> bool:
    text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1", "ignore")
    text = text.removeprefix("\xef\xbb\xbf").lstrip("\ufeff \t\r\n")
    # Nothing but declarations and remarks may stand before the root.
    text = re.sub(r"<\?.*?\?>|<!--.*?-->", "", text, flags=re.DOTALL).lstrip()
    return re.match(r"<(\w+:)?(kml|Document|Folder|Placemark)[\s>/]", text) is not None


def _is_osm(head: bytes) -> bool:
    text = re.sub(rb"<\?.*?\?>|<!--.*?-->", b"", head.removeprefix(b"\xef\xbb\xbf"), flags=re.DOTALL).lstrip()
    return re.match(rb"<osm[\s>]", text) is not None


def _is_geopackage(head: bytes) -> bool:
    return head.startswith(b"SQLite format 3\0") and len(head) >= 100


_LOOKS = {
    ".shp": lambda head: head[:4] == b"\0\0\x27\x0a",
    ".gpkg": _is_geopackage,
    ".geojson": _is_json,
    ".geojsonl": _is_json,
    ".json": _is_json,
    ".kml": _is_kml,
    ".osm": lambda head: _is_osm(head),
    ".pbf": lambda head: head[4:6] == b"\x0a\x09" and head[6:15] == b"OSMHeader",
    ".fgb": lambda head: head[:3] == b"fgb" and head[4:7] == b"fgb",
}

# ------------------------------------------------------------------ GeoPackage

_FUNCTIONS = frozenset(
    (
        "abs",
        "avg",
        "coalesce",
        "count",
        "ifnull",
        "iif",
        "length",
        "lower",
        "max",
        "min",
        "nullif",
        "round",
        "substr",
        "trim",
    )
)


def _geopackage_layers(path: Path, name: str, error: type[TesseraError]) -> list[str]:
    """Names of the layers with geometries of a GeoPackage none of whose objects does more than hold or select rows."""
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        raise error(
            f"{name} is open in another program that has not written all of it yet; save it there and close it."
        )
    database = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        database.execute("PRAGMA trusted_schema = OFF")
        objects = database.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
        # The name beside a view's text may be that of another; the library's own list has what it made of the text.
        views = {str(row[1]) for row in database.execute("PRAGMA table_list") if row[2] == "view"}
        for _, item, sql in objects:
            # What an object is stands in its text, whatever the column beside it says; an index of a key has none.
            words = _bare(str(sql or "create index"))
            if re.match(r"create virtual table", words):
                if not re.match(r"create virtual table (if not exists )?\w+ using (rtree|fts[345]) ?\(", words):
                    raise error(f"{name} holds a table ({item!r}) that is computed by a program; it is not opened.")
            elif re.match(r"create table ", words):
                if re.search(r"\bas ?\(", words):
                    raise error(
                        f"{name} holds a table ({item!r}) with computed columns; it is not opened. Save its rows as a plain layer."
                    )
            elif re.match(r"create view ", words):
                views.add(str(item))
            elif not re.match(r"create (unique )?index|create trigger ", words):
                raise error(f"{name} holds an object ({item!r}) of a kind that is not known here; it is not opened.")
        for view in sorted(views):
            _check_view(database, view, name, error)
        rows = database.execute("SELECT table_name FROM gpkg_geometry_columns").fetchall()
        present = {str(item).casefold() for kind, item, _ in objects if kind in ("table", "view")}
        return [str(row[0]) for row in rows if str(row[0]).casefold() in present]
    except (sqlite3.Error, UnicodeError) as cause:
        raise error(f"{name} is not a readable GeoPackage: {first_line(cause)}. Copy or download it again.") from cause
    finally:
        database.close()


def _bare(sql: str) -> str:
    """SQL in lower case with one space for spaces and remarks, an ``x`` for each text in quotes, and plain names as they are."""
    quoted = r"""'(?:[^']|'')*'|"(?P<d>(?:[^"]|"")*)"|\[(?P<s>[^\]]*)\]|`(?P<b>(?:[^`]|``)*)`"""

    def plain(found: re.Match[str]) -> str:
        text = found["d"] or found["s"] or found["b"] or ""
        return text if re.fullmatch(r"\w+", text) else "x" if found[0][0] in "'\"[`" else " "

    text = re.sub(rf"{quoted}|/\*.*?(?:\*/|$)|--[^\n]*", plain, sql, flags=re.DOTALL)
    return re.sub(r"\s+", " ", text).strip().lower()


def _check_view(database: sqlite3.Connection, view: str, name: str, error: type[TesseraError]) -> None:
    """A view may select columns; a function of GDAL's in it could open files and addresses."""
    plain = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ}

    def allowed(action: int, _: str | None, second: str | None, *__: str | None) -> int:
        known = action in plain or (action == sqlite3.SQLITE_FUNCTION and str(second).lower() in _FUNCTIONS)
        return sqlite3.SQLITE_OK if known else sqlite3.SQLITE_DENY

    quoted = '"' + view.replace('"', '""') + '"'
    database.set_authorizer(allowed)
    try:
        database.execute(f"SELECT * FROM {quoted} LIMIT 0")
    except sqlite3.Error as cause:
        raise error(
            f"{name} holds a view ({view!r}) that does more than select columns; it is not opened. Save its rows as a plain layer."
        ) from cause
    finally:
        database.set_authorizer(None)


# ------------------------------------------------------------------ GDAL


@contextmanager
def _gdal() -> Iterator[None]:
    """pyogrio with nothing but plain formats, and no network."""
    if _prepared():
        import rasterio

        # One GDAL for both: settings of this thread hold for pyogrio, and remote reads elsewhere go on.
        with rasterio.Env(**LOCAL_OPTIONS):
            yield
    else:
        yield


def prepare_vectors() -> None:
    """Take all but a few plain formats out of the library that reads and writes vector files.

    Raises:
        InputError: the library does not let them be taken out, so that no vector file can be opened safely.
    """
    _prepared()


@functools.cache
def _prepared() -> bool:
    """Take out the drivers; whether pyogrio and rasterio use one GDAL (in wheels each brings its own)."""
    import pyogrio
    from rasterio.env import get_gdal_config

    with _guard:
        others = [driver for driver in pyogrio.list_drivers() if driver not in DRIVERS]
        pyogrio.set_gdal_config_options({"GDAL_SKIP": ",".join(others), "TESSERA_GATE": "1"})
        pyogrio.core._register_drivers()
        left = sorted(set(pyogrio.list_drivers()) - set(DRIVERS))
        if left:
            raise InputError(
                f"This installation of pyogrio cannot open vector files safely ({', '.join(left)} remain)."
            )
        one = get_gdal_config("TESSERA_GATE") is not None
        if not one:
            pyogrio.set_gdal_config_options(LOCAL_OPTIONS)
        return one
