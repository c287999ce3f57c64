// A base map as a layer of Leaflet: tiles counted from the north or the south, a WMS, a WMTS with names for its levels.

/** @import { BaseMap } from "../../messages.js" */
/** @import { Leaflet } from "./layers.js" */

/**
 * @param {Leaflet} L
 * @param {BaseMap} source
 * @param {boolean} readable whether its pictures are asked for such that a page may read them
 * @returns {import("leaflet").TileLayer}
 */
export function makeBase(L, source, readable) {
  const options = {
    pane: "base",
    maxNativeZoom: source.zoom,
    maxZoom: 24,
    attribution: source.attribution,
    // Who asks is told, what project they look at is not.
    referrerPolicy: /** @type {const} */ ("strict-origin-when-cross-origin"),
    ...(readable ? { crossOrigin: /** @type {const} */ ("anonymous") } : {}),
  };
  const { wms, levels } = source;
  if (wms) {
    const { time, crs, ...asked } = wms;
    const when = time ? { time } : {};
    return L.tileLayer.wms(source.url, {
      ...options,
      ...asked,
      ...when,
      transparent: asked.format !== "image/jpeg",
      crs: crs === "EPSG:4326" ? L.CRS.EPSG4326 : L.CRS.EPSG3857,
      uppercase: true,
    });
  }
  const layer = L.tileLayer(source.url, { ...options, tms: source.kind === "tms" });
  if (levels.length) {
    layer.options.minNativeZoom = Math.max(levels.findIndex(Boolean), 0);
    layer.getTileUrl = ({ x, y, z }) => L.Util.template(source.url, { z: levels[z] ?? "", x, y });
  }
  return layer;
}
