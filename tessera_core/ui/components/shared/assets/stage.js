// One Leaflet map with its pictures, base map and ink. A view has one, or two side by side that move together.

import { makeBase } from "./basemap.js";
import { Frame, makeInk, makePicture } from "./layers.js";
import { t } from "./words.js";

/** @import { BaseMap, Bounds, FrameKind, XY } from "../../messages.js" */
/** @import { Leaflet, Picture, Transform } from "./layers.js" */

const BASE = 210;

const pictureOf = (/** @type {string} */ name) => name.replace(/_view$/, "");

export class Stage {
  /**
   * @param {Leaflet} L
   * @param {HTMLElement} box
   * @param {FrameKind} kind
   * @param {{
   *   minZoom?: number,
   *   panes?: Record<string, number>,
   *   prefix?: string,
   *   pixel: () => number,
   *   draw: (context: CanvasRenderingContext2D, t: Transform) => void,
   * }} options panes besides "base" and "ink" with their heights; what stands before a picture's name in that of its pane; the
   *   width of a pixel of the scene, in the frame's units; what draws the ink
   */
  constructor(L, box, kind, { minZoom = -6, panes = {}, prefix = "", pixel, draw }) {
    this.L = L;
    this.box = box;
    this.prefix = prefix;
    this.pixel = pixel;
    this.frame = new Frame(L, kind);
    this.map = L.map(box, {
      crs: this.frame.crs,
      zoomControl: false,
      attributionControl: false,
      doubleClickZoom: false,
      boxZoom: false,
      zoomSnap: 0.25,
      zoomDelta: 1,
      wheelPxPerZoomLevel: 90,
      minZoom,
      maxZoom: 24,
      maxBoundsViscosity: 0.7,
    });
    /** @type {Map<string, Picture>} */
    this.pictures = new Map();
    /** @type {[string, string] | null} */
    this.pair = null;
    this.at = 0.5;
    this.baseSource = "";
    /** @type {import("leaflet").TileLayer | null} */
    this.baseLayer = null;
    for (const [name, z] of Object.entries({ base: BASE, ink: 450, ...panes }))
      this.makePane(name).style.zIndex = `${z}`;
    L.control.attribution({ prefix: false, position: "bottomright" }).addTo(this.map);
    this.ink = makeInk(L, this.frame, draw, pixel);
    this.ink.addTo(this.map);
    this.map.on("move zoom resize", () => this.clip());
  }

  destroy() {
    this.map.remove();
  }

  /** @param {string} name */
  makePane(name) {
    return this.map.createPane(name);
  }

  /** @param {string} name */
  styleOf(name) {
    return this.map.getPane(name)?.style;
  }

  // ------------------------------------------------------------------- pictures

  /** @param {string} name what is in sight of a picture, NAME_view, lies in the pane of the picture */
  pane(name) {
    return this.map.getPane(this.prefix + pictureOf(name));
  }

  /**
   * Draws a decoded picture; the one before stays until then, so that nothing blinks.
   * @param {string} name
   * @param {ImageBitmap | HTMLCanvasElement} bitmap
   * @param {Bounds} bounds
   */
  show(name, bitmap, bounds) {
    let layer = this.pictures.get(name);
    if (!layer) {
      const pane = this.prefix + pictureOf(name);
      if (!this.pane(name)) this.makePane(pane);
      layer = makePicture(this.L, this.frame, bounds, pane);
      if (pictureOf(name) !== name) layer.setZIndex(2);
      this.pictures.set(name, layer);
    }
    layer.draw(bitmap);
    if (!this.map.hasLayer(layer)) layer.addTo(this.map);
  }

  /** @param {string} name */
  drop(name) {
    this.pictures.get(name)?.remove();
    this.pictures.delete(name);
  }

  /**
   * @param {Map<string, number>} shown opacity by name of picture
   * @param {Iterable<string>} names of all pictures there may be
   */
  arrange(shown, names) {
    for (const name of names) {
      const pane = this.pane(name);
      if (!pane) continue;
      pane.style.display = shown.has(name) ? "" : "none";
      pane.style.opacity = `${shown.get(name) ?? 1}`;
    }
  }

  // ---------------------------------------------------------------------- swipe

  /**
   * Compares two pictures with a divider, or none.
   * @param {[string, string] | null} pair
   * @param {number} at 0 = left edge, 1 = right edge
   */
  compare(pair, at) {
    this.pair = pair;
    this.at = at;
    this.clip();
  }

  /**
   * On which sides of the divider a picture lies: both without one, above the pair, and beside itself.
   * @param {string} name
   * @returns {[boolean, boolean]}
   */
  sides(name) {
    const { pair } = this;
    const of = pictureOf(name);
    return pair?.includes(of) ? [of === pair[0], of === pair[1]] : [true, true];
  }

  // The left picture is cut at the divider on the right and the right one on the left.
  clip() {
    const size = this.map.getSize();
    const min = this.map.containerPointToLayerPoint([0, 0]);
    const max = this.map.containerPointToLayerPoint(size);
    const middle = min.x + size.x * this.at;
    for (const name of this.pictures.keys()) {
      const pane = this.pane(name);
      if (!pane) continue;
      const [left, right] = this.sides(name);
      if (left && right) pane.style.clip = "";
      else if (left) pane.style.clip = `rect(${min.y}px, ${middle}px, ${max.y}px, ${min.x}px)`;
      else pane.style.clip = `rect(${min.y}px, ${max.x}px, ${max.y}px, ${middle}px)`;
    }
  }

  // ------------------------------------------------------------------- base map

  /**
   * @param {number | null} height of the base map among the pictures; null for below all of them
   */
  liftBase(height) {
    const style = this.styleOf("base");
    if (style) style.zIndex = `${height ?? BASE}`;
  }

  /**
   * Base maps come from the internet: off unless asked for, and quietly absent without a connection.
   * @param {BaseMap | null} source
   * @param {number} opacity
   * @param {(missing: boolean) => void} missing hears whether nothing of it could be reached
   */
  base(source, opacity, missing) {
    const style = this.styleOf("base");
    if (style) style.opacity = `${opacity}`;
    // Of the same name it may be of another date.
    const told = JSON.stringify(source);
    if (told === this.baseSource) return;
    this.baseLayer?.remove();
    this.baseLayer = null;
    this.baseSource = told;
    missing(false);
    if (source) this.lay(source, missing, true);
  }

  /**
   * @param {BaseMap} source
   * @param {(missing: boolean) => void} missing
   * @param {boolean} readable whether its tiles shall be such that the map can be saved with them
   */
  lay(source, missing, readable) {
    let loaded = 0;
    const layer = makeBase(this.L, source, readable);
    layer.on("tileload", () => {
      loaded += 1;
      if (this.baseLayer === layer) missing(false);
    });
    // All that is in sight was answered, be it with errors.
    layer.on("load", () => {
      if (this.baseLayer !== layer || loaded) return;
      // Many services answer everybody, but let no page read their pictures: shown, they cannot be saved.
      if (!readable) return missing(true);
      // Leaflet is not yet done with the layer that tells.
      setTimeout(() => {
        if (this.baseLayer !== layer) return;
        layer.remove();
        this.lay(source, missing, false);
      });
    });
    setTimeout(() => {
      if (this.baseLayer === layer) missing(!loaded);
    }, 4000);
    this.baseLayer = layer.addTo(this.map);
  }

  // ------------------------------------------------------------------- pointing

  /**
   * Frame coordinates to pixels of the map's box.
   * @returns {Transform}
   */
  screen() {
    const t = this.frame.toLayer(this.map, this.pixel());
    const shift = this.map.layerPointToContainerPoint([0, 0]);
    t.tx += shift.x;
    t.ty += shift.y;
    return t;
  }

  /** @param {MouseEvent} event */
  xy(event) {
    return this.frame.xy(this.map.mouseEventToLatLng(event));
  }

  get middle() {
    return this.frame.xy(this.map.getCenter());
  }

  /**
   * Where something lies in the map's box.
   * @param {XY} xy
   */
  toScreen([x, y]) {
    return this.map.latLngToContainerPoint(this.frame.latLng(x, y));
  }

  /**
   * What a pointer is over, for people.
   * @param {MouseEvent} event
   */
  where(event) {
    const { lat, lng } = this.map.mouseEventToLatLng(event);
    if (this.frame.kind !== "mercator") return t("row {n}, column {n2}", { n: Math.floor(-lat), n2: Math.floor(lng) });
    const [northern, eastern] = [lat < 0 ? "S" : "N", lng < 0 ? "W" : "E"];
    return `${Math.abs(lat).toFixed(5)}° ${northern}, ${Math.abs(lng).toFixed(5)}° ${eastern}`;
  }
}
