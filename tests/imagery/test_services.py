"""Addresses and descriptions of services as base layers, asked for on this computer and on a server for strangers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tessera_core.errors import AcquisitionError, InputError
from tessera_core.hosting import VARIABLE
from tessera_core.imagery import services
from tessera_core.imagery.addresses import capabilities_address, read_address
from tessera_core.imagery.capabilities import read_capabilities
from tests.imagery.picture_server import ENTITIES, WMS_111, PictureServer, serving


@pytest.fixture(scope="module")
def server() -> Iterator[PictureServer]:
    with serving() as one:
        yield one


def test_addresses_of_tiles_are_read_however_they_are_written() -> None:
    for text, kind, url in (
        ("https://a.example/{z}/{x}/{y}.png", "xyz", "https://a.example/{z}/{x}/{y}.png"),
        (" https://{s}.a.example/${z}/${x}/${y}{r}.png ", "xyz", "https://a.a.example/{z}/{x}/{y}.png"),
        ("https://a.example/{z}/{x}/{-y}.jpg", "tms", "https://a.example/{z}/{x}/{y}.jpg"),
        ("https://a.example/{TileMatrix}/{TileRow}/{TileCol}.png", "xyz", "https://a.example/{z}/{y}/{x}.png"),
    ):
        layer = read_address(text).layer
        assert layer is not None
        assert (layer.kind, layer.url) == (kind, url)


def test_a_request_of_a_wms_is_read_with_what_it_asks_for() -> None:
    found = read_address(
        "https://a.example/wms?map=x&SERVICE=WMS&VERSION=1.1.1&REQUEST=GetMap&LAYERS=one,two&STYLES=&SRS=EPSG:4326"
        "&BBOX=0,0,1,1&WIDTH=9&HEIGHT=9&FORMAT=image/jpeg&TIME=2020-05-01"
    ).layer
    assert found is not None
    assert found.url == "https://a.example/wms?map=x"
    assert (found.layers, found.version, found.crs, found.format) == ("one,two", "1.1.1", "EPSG:4326", "image/jpeg")
    assert found.date_sentence(2024) == "Picture of 2020-05-01; the map is of 2024."


def test_a_request_of_a_wmts_becomes_tiles() -> None:
    found = read_address(
        "https://a.example/t?service=WMTS&request=GetTile&layer=a&tilematrixset=GoogleMapsCompatible"
    ).layer
    assert found is not None
    assert found.kind == "xyz"
    assert "TILEMATRIX={z}&TILEROW={y}&TILECOL={x}" in found.url
    assert "LAYER=a" in found.url
    with pytest.raises(InputError, match="ask"):
        read_address("https://a.example/t?service=WMTS&request=GetTile&layer=a&tilematrixset=swiss")


@pytest.mark.parametrize(
    "text",
    [
        "", "javascript:alert(1)//{z}{x}{y}", "file:///etc/{z}/{x}/{y}", "https:///{z}/{x}/{y}", "data:image/png,{z}{x}{y}",
        "https://me:secret@a.example/{z}/{x}/{y}", "https://a.example/{z}/{x}/{y}\"onload=x", "https://{x}.example/{z}/{x}/{y}",
        "https://a.example/{q}/{z}/{x}/{y}", "https://a.example/{z}/{x}/{y}/{time}",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_picture_is_said_to_be_none(text: str) -> None:
    with pytest.raises(InputError):
        read_address(text)


@pytest.mark.parametrize("name", ["key", "apikey", "api_key", "access_token", "token", "subscription-key"])
def test_a_key_in_an_address_is_taken_out_of_it(name: str) -> None:
    tiles = read_address(f"https://a.example/{{z}}/{{x}}/{{y}}.png?{name}=s3cret&v=1")
    service = read_address(f"https://a.example/wms?{name}=s3cret")
    assert tiles.key == service.key == "s3cret"
    assert service.kind == "service"
    assert tiles.layer is not None
    assert tiles.layer.url.endswith(f"?{name}={{key}}&v=1")
    assert "s3cret" not in repr(tiles.layer) + tiles.address + service.address + capabilities_address(service.address)


def test_a_wms_of_now_tells_layers_dates_and_whose_they_are(server: PictureServer) -> None:
    offer = services.ask(f"{server.url}/wms?map=all")
    years, one = offer.layers
    assert offer.title == "Aerial surveys"
    assert list(offer.left_out.values()) == [1]
    # Where pictures come from is what the person typed, not what the description names.
    assert years.url == one.url == f"{server.url}/wms?map=all"
    assert years.dates == ("2019-06-01", "2021-06-01", "2022-06-01", "2023-06-01")
    assert years.version == "1.3.0"
    assert years.date_for(2021) == "2021-06-01"
    assert years.date_for(2030) == "2023-06-01"
    assert (years.format, years.attribution, years.licence) == ("image/jpeg", "The Survey", "CC BY 4.0")
    assert one.date_sentence(2024) == "The date of this picture is not told; the map is of 2024."


def test_an_old_wms_with_a_document_type_is_read_and_nothing_fetched_for_it() -> None:
    (old,) = read_capabilities(WMS_111.encode(), "https://a.example/wms").layers
    assert (old.version, old.crs, old.dates) == ("1.1.1", "EPSG:4326", ("1948", "1969"))


def test_a_wmts_has_names_for_its_levels_and_dates(server: PictureServer) -> None:
    offer = services.ask(f"{server.url}/wmts")
    (mosaic,) = offer.layers
    assert sum(offer.left_out.values()) == 1
    assert mosaic.url == f"{server.url}/wmts/plain/{{time}}/web/{{z}}/{{y}}/{{x}}.png"
    assert mosaic.levels[:4] == ("", "", "level-2", "level-3")
    assert mosaic.zoom == 18
    assert mosaic.attribution == "The Agency"
    assert mosaic.dates == ("2020", "2022")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("gone", "error 404"), ("broken", "error 500"), ("page", "web page"), ("words", "no description"),
        ("huge", "larger than"), ("empty", "empty"), ("around", "again and again"), ("slow", "in time"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_sentence(server: PictureServer, fault: str, says: str) -> None:
    with pytest.raises((InputError, AcquisitionError), match=says):
        services.ask(f"{server.url}/faulty/{fault}/capabilities.xml", timeout_s=1)


def test_entities_are_refused_and_never_resolved() -> None:
    with pytest.raises(InputError, match="entities"):
        read_capabilities(ENTITIES.encode(), "https://a.example/wms")
    laughs = (
        "<!DOCTYPE a [<!ENTITY a 'ha'>" + "".join(f"<!ENTITY a{n} '{'&a;' * 50}'>" for n in range(9)) + "]><a>&a8;</a>"
    )
    with pytest.raises(InputError, match="entities"):
        read_capabilities(laughs.encode(), "https://a.example/wms")
    with pytest.raises(InputError, match="deeper"):
        read_capabilities(b"<a>" * 100, "https://a.example/wms")


def test_nobody_there_is_one_sentence() -> None:
    with serving() as gone:
        url = gone.url
    with pytest.raises(AcquisitionError, match="cannot be reached"):
        services.ask(f"{url}/wms")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "2130706433",
     "0x7f000001", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[fd00::1]", "224.0.0.1"],
)  # fmt: skip
def test_a_server_for_strangers_asks_nobody_on_its_own_network(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    with pytest.raises((InputError, AcquisitionError), match=r"public services|no server called"):
        services.ask(f"http://{host}/wms")


def test_a_server_for_strangers_asks_the_ports_of_the_web_alone(
    monkeypatch: pytest.MonkeyPatch, server: PictureServer
) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    before = len(server.asked)
    with pytest.raises(InputError, match="usual ports"):
        services.ask(f"{server.url}/wms")
    assert len(server.asked) == before


def test_a_redirect_is_judged_like_the_first_address(monkeypatch: pytest.MonkeyPatch, server: PictureServer) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    port = int(server.host.rpartition(":")[2])
    asked: list[str] = []

    def place(host: str, number: int) -> str:
        asked.append(host)
        if host == "public.example":
            return "127.0.0.1"
        return real(host, number)

    real = services.public_address
    monkeypatch.setattr(services, "public_address", place)
    with pytest.raises(InputError, match="public services"):
        services.ask(f"http://public.example:{port}/faulty/around/first.xml")
    assert asked == ["public.example", "127.0.0.1"]
    # The connection goes to the address that was judged, whatever the name may lead to by then.
    offer = services.ask(f"http://public.example:{port}/wms")
    assert offer.title == "Aerial surveys"
