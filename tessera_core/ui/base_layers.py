"""Base layers of a project: choosing them from the list, by the address of a service, or from a file of one's own."""

from __future__ import annotations

import streamlit as st

from tessera_core.errors import InputError
from tessera_core.hosting import hosted
from tessera_core.imagery.addresses import Pasted, read_address
from tessera_core.imagery.capabilities import Offer
from tessera_core.imagery.catalogue import catalogue
from tessera_core.imagery.keys import keep_key, known_keys
from tessera_core.imagery.layers import BaseLayer
from tessera_core.imagery.services import ask
from tessera_core.language import later, relay, t
from tessera_core.project import imagery
from tessera_core.project.project import Project
from tessera_core.session.base_maps import BASE_MAPS
from tessera_core.ui import humanize, shell, state

_WAYS = {"list": later("From a list"), "address": later("By address"), "file": later("A file of mine")}
_CHANGED = "base_layers_changed"
_RESERVED = tuple(str(one["name"]) for one in BASE_MAPS)


def panel(project: Project, page: str) -> None:
    """The base layers of a project, and the ways to add one.

    Args:
        page: names the page in the keys of widgets.
    """
    if st.session_state.pop(_CHANGED, False):
        # The maps, which are in other parts of the page, offer other layers now.
        st.rerun()
    key = f"{page}_base_layers_{project.key}"
    year = state.current_year(project)
    known = project.settings.base_layers
    keys = known_keys() if any(layer.needs_key for layer in known) else {}
    for number, layer in enumerate(known):
        _row(project, layer, year, keys, f"{key}_{number}")
    if not known:
        st.caption(
            t("Pictures that lie under every map of this project: add one here, then choose it under the map's layers.")
        )
    if told := st.session_state.pop(f"{key}_told", ""):
        st.success(told, icon=":material/check:")
    way = st.segmented_control(
        t("Add a picture"),
        list(_WAYS),
        format_func=lambda one: t(_WAYS[one]),
        default="list",
        required=True,
        key=f"{key}_way",
    )
    {"address": _by_address, "file": _from_file}.get(str(way), _from_list)(project, key)


def _row(project: Project, layer: BaseLayer, year: int | None, keys: dict[str, str], key: str) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{humanize.escape(layer.name)}**")
            st.button(
                t("Remove"), key=f"{key}_remove", icon=":material/close:", on_click=_remove, args=(project, layer.name)
            )
        parts = (layer.attribution, relay(layer.date_sentence(year)), layer.licence)
        st.caption(humanize.escape(" ".join(part for part in parts if part)))
        if layer.needs_key and layer.host not in keys:
            if hosted():
                st.warning(t("Its service asks for a key, and this server has none for it."), icon=":material/key:")
            else:
                st.text_input(
                    t("Key for {host}", host=layer.host),
                    key=f"{key}_key",
                    type="password",
                    help=t("Kept on this computer for this service alone; never in the project, a pack or a report."),
                    on_change=_keep_key,
                    args=(layer.host, f"{key}_key"),
                )


@shell.shielded
def _remove(project: Project, name: str) -> None:
    imagery.remove_layer(project, name)
    st.session_state[_CHANGED] = True


@shell.shielded
def _keep_key(host: str, widget: str) -> None:
    keep_key(host, st.session_state[widget])
    st.session_state[_CHANGED] = True


@shell.shielded
def _add(project: Project, layer: BaseLayer, key: str, host: str = "", secret: str = "") -> None:
    if secret:
        keep_key(host, secret)
    added = imagery.add_layer(project, layer, _RESERVED)
    st.session_state[_CHANGED] = True
    st.session_state[f"{key}_told"] = t("{name} can be chosen under the layers of every map.", name=added.name) + (
        t(" Its key stays on this computer; the project does not hold it.") if secret else ""
    )


def _from_list(project: Project, key: str) -> None:
    layers = catalogue()
    name = st.selectbox(t("Picture"), list(layers), index=None, key=f"{key}_name", placeholder=t("Choose or search"))
    if name is None:
        return
    layer = layers[name]
    year = state.current_year(project)
    told = [
        layer.attribution,
        relay(layer.date_sentence(year)),
        layer.licence,
        t("Closest zoom level: {zoom}.", zoom=layer.zoom),
    ]
    if layer.needs_key:
        told.append(t("Its service asks for a key."))
    st.caption(humanize.escape(" ".join(part for part in told if part)))
    st.button(t("Add it"), type="primary", key=f"{key}_add", on_click=_add, args=(project, layer, key))


def _by_address(project: Project, key: str) -> None:
    text = st.text_input(
        t("Address"),
        key=f"{key}_address",
        placeholder=t("{tiles}, or a WMS or WMTS", tiles="https://…/{z}/{x}/{y}.png"),
        help=t(
            "Tiles ({places}; {south} counts from the south), a WMS or a WMTS. A key in it is kept apart, on this computer.",
            places="{z}, {x}, {y}",
            south="{-y}",
        ),
    )
    name = st.text_input(t("Name"), key=f"{key}_called", placeholder=t("What it shall be called"))
    date = st.text_input(t("Date of the picture, if you know it"), key=f"{key}_date", placeholder=t("for example 2021"))
    if not text.strip():
        return
    with shell.plain_errors():
        found = read_address(text, name, date)
        if found.key and hosted():
            raise InputError("This server keeps no keys of its visitors. Put {key} where the key goes in the address.")
        if found.layer is not None:
            st.caption(humanize.escape(relay(found.layer.date_sentence(state.current_year(project)))))
            st.button(t("Add it"), type="primary", key=f"{key}_add", on_click=_add,
                      args=(project, found.layer, key, found.host, found.key))  # fmt: skip
            return
        _service(project, found, name, date, key)


def _service(project: Project, found: Pasted, name: str, date: str, key: str) -> None:
    """A service that has to be asked; only when a person says so."""
    asked = f"{key}_asked"
    offer: Offer | None = None
    if st.session_state.get(asked, ("", None))[0] == found.address:
        offer = st.session_state[asked][1]
    elif st.button(t("Ask the service what it has"), key=f"{key}_ask", icon=":material/travel_explore:"):
        with st.spinner(t("Asking the service…")):
            offer = ask(found.address, found.key or known_keys().get(found.host, ""))
        st.session_state[asked] = (found.address, offer)
    if offer is None:
        return
    left = sum(offer.left_out.values())
    counted = t("{layers} layers", layers=len(offer.layers)) if len(offer.layers) != 1 else t("One layer")
    reasons = "; ".join(t("{n} left out: {why}", n=n, why=relay(why)) for why, n in offer.left_out.items())
    st.caption(humanize.escape(f"{offer.title or found.host}: {counted}. {reasons + '.' if left else ''}"))
    if not offer.layers:
        return
    number = st.selectbox(
        t("Layer"),
        range(len(offer.layers)),
        format_func=lambda n: offer.layers[n].name,
        key=f"{key}_layer",
        placeholder=t("Choose or search"),
    )
    layer = offer.layers[number or 0]
    changes = {"name": name.strip()[:80] or layer.name, "date": date.strip()[:120] or layer.date}
    layer = BaseLayer(**{field: getattr(layer, field) for field in layer.__struct_fields__} | changes)
    told = [layer.attribution, relay(layer.date_sentence(state.current_year(project))), layer.licence]
    st.caption(humanize.escape(" ".join(part for part in told if part)))
    st.button(
        t("Add it"), type="primary", key=f"{key}_add", on_click=_add, args=(project, layer, key, found.host, found.key)
    )


def _from_file(project: Project, key: str) -> None:
    upload = st.file_uploader(t("GeoTIFF or COG"), type=["tif", "tiff"], key=f"{key}_file")
    date = st.text_input(t("Date of the picture, if you know it"), key=f"{key}_date", placeholder=t("for example 2021"))
    if upload is None:
        st.caption(
            t("Of a picture of your own the part on this region is kept with the project; the rest stays with you.")
        )
        return
    taken = f"{key}_taken"
    if st.session_state.get(taken) == upload.file_id:
        return

    @shell.shielded
    def take() -> None:
        layer, said = imagery.add_picture(project, upload, upload.name, date=date)
        st.session_state[taken] = upload.file_id
        st.session_state[_CHANGED] = True
        st.session_state[f"{key}_told"] = t(
            "{name} can be chosen under the layers of every map. {said}", name=layer.name, said=relay(said)
        )

    st.button(t("Add it"), type="primary", key=f"{key}_add", on_click=take)
