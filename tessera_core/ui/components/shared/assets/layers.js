// Leaflet layers of our own: pictures drawn on a canvas, and ink (labels as vectors).

/** @import { Bounds, FrameKind, XY } from "../../messages.js" */
/** @typedef {typeof import("leaflet")} Leaflet */
/**
 * Frame coordinates to pixels of a screen: x * sx + tx; `pixel` is the width of a pixel of the scene there.
 * @typedef {{ sx: number, sy: number, tx: number, ty: number, pixel: number }} Transform
 */
/** @typedef {import("leaflet").ImageOverlay & { draw(source: ImageBitmap | HTMLCanvasElement): void }} Picture */
/** @typedef {import("leaflet").Layer & { redraw(): void }} Ink */

// Place on Earth or pixel frame, both linear on the screen at a given zoom.
export class Frame {
  /**
   * @param {Leaflet} L
   * @param {FrameKind} kind
   */
  constructor(L, kind) {
    this.L = L;
    this.kind = kind;
    this.crs = kind === "mercator" ? L.CRS.EPSG3857 : L.CRS.Simple;
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  latLng(x, y) {
    if (this.kind !== "mercator") return this.L.latLng(y, x);
    return this.L.Projection.SphericalMercator.unproject(this.L.point(x, y));
  }

  /**
   * @param {import("leaflet").LatLng} latLng
   * @returns {XY}
   */
  xy(latLng) {
    if (this.kind !== "mercator") return [latLng.lng, latLng.lat];
    const p = this.L.Projection.SphericalMercator.project(latLng);
    return [p.x, p.y];
  }

  /** @param {Bounds} bounds */
  bounds([west, south, east, north]) {
    return this.L.latLngBounds(this.latLng(west, south), this.latLng(east, north));
  }

  // What a hundredth of a metre, or a thousandth of a pixel, is lost on is not sent.
  /** @param {number} v */
  round(v) {
    const digits = this.kind === "mercator" ? 100 : 1000;
    return Math.round(v * digits) / digits;
  }

  /**
   * To pixels of the map's layers.
   * @param {import("leaflet").Map} map
   * @param {number} pixel width of a pixel of the scene, in the frame's units
   * @returns {Transform}
   */
  toLayer(map, pixel) {
    const [x0, y0] = this.xy(map.getCenter());
    const d = this.kind === "mercator" ? 1000 : 10;
    const a = map.latLngToLayerPoint(this.latLng(x0, y0));
    const zoom = map.getZoom();
    const p = map.project(this.latLng(x0, y0), zoom);
    const q = map.project(this.latLng(x0 + d, y0 + d), zoom);
    const sx = (q.x - p.x) / d;
    const sy = (q.y - p.y) / d;
    return { sx, sy, tx: a.x - sx * x0, ty: a.y - sy * y0, pixel: sx * pixel };
  }
}

/**
 * @param {Leaflet} L
 * @param {Frame} frame
 * @param {Bounds} bounds
 * @param {string} pane
 * @returns {Picture}
 */
export function makePicture(L, frame, bounds, pane) {
  const Picture = L.ImageOverlay.extend({
    _initImage() {
      const canvas = (this._image = this._canvas ??= document.createElement("canvas"));
      L.DomUtil.addClass(canvas, "leaflet-image-layer");
      if (this._zoomAnimated) L.DomUtil.addClass(canvas, "leaflet-zoom-animated");
      canvas.style.imageRendering = "pixelated";
    },
    // Decoded before it is drawn and drawn in one go: no blank frame between two pictures.
    /** @param {ImageBitmap | HTMLCanvasElement} source */
    draw(source) {
      const canvas = (this._canvas ??= document.createElement("canvas"));
      if (canvas.width !== source.width || canvas.height !== source.height) {
        canvas.width = source.width;
        canvas.height = source.height;
      }
      const context = canvas.getContext("2d");
      context.globalCompositeOperation = "copy";
      context.drawImage(source, 0, 0);
      if (source instanceof ImageBitmap) source.close();
    },
  });
  const Made = /** @type {new (...options: any[]) => Picture} */ (/** @type {unknown} */ (Picture));
  return new Made("", frame.bounds(bounds), { pane, interactive: false });
}

/**
 * A canvas that moves with the map and is drawn anew by `draw`.
 * @param {Leaflet} L
 * @param {Frame} frame
 * @param {(context: CanvasRenderingContext2D, t: Transform) => void} draw
 * @param {() => number} pixel width of a pixel of the scene, in the frame's units
 * @param {string} [pane]
 * @returns {Ink}
 */
export function makeInk(L, frame, draw, pixel, pane = "ink") {
  const Ink = L.Layer.extend({
    /** @param {import("leaflet").Map} map */
    onAdd(map) {
      this._map = map;
      this._canvas = L.DomUtil.create("canvas", "leaflet-zoom-animated tl-ink");
      map.getPane(pane)?.appendChild(this._canvas);
      this._reset();
    },
    onRemove() {
      this._canvas.remove();
    },
    getEvents() {
      /** @type {Record<string, Function>} */
      const events = { viewreset: this._reset, moveend: this._reset, resize: this._reset, zoom: this._transform };
      if (this._map._zoomAnimated)
        events.zoomanim = (/** @type {import("leaflet").ZoomAnimEvent} */ e) => this._place(e.center, e.zoom);
      return events;
    },
    _transform() {
      this._place(this._map.getCenter(), this._map.getZoom());
    },
    /**
     * Scales the drawn canvas while a zoom is under way, as Leaflet does with its own renderers.
     * @param {import("leaflet").LatLng} center
     * @param {number} zoom
     */
    _place(center, zoom) {
      const map = this._map;
      if (!this._center) return;
      const scale = map.getZoomScale(zoom, this._zoom);
      const half = map.getSize().multiplyBy(0.5 + this._padding);
      const now = map.project(this._center, zoom);
      const topLeft = half.multiplyBy(-scale).add(now).subtract(map._getNewPixelOrigin(center, zoom));
      L.DomUtil.setTransform(this._canvas, topLeft, scale);
    },
    _reset() {
      const map = this._map;
      this._padding = 0.2;
      const size = map.getSize();
      const min = map.containerPointToLayerPoint(size.multiplyBy(-this._padding)).round();
      const full = size.multiplyBy(1 + 2 * this._padding).round();
      const ratio = window.devicePixelRatio || 1;
      this._canvas.width = full.x * ratio;
      this._canvas.height = full.y * ratio;
      this._canvas.style.width = `${full.x}px`;
      this._canvas.style.height = `${full.y}px`;
      this._center = map.getCenter();
      this._zoom = map.getZoom();
      this._min = min;
      L.DomUtil.setTransform(this._canvas, min, 1);
      this.redraw();
    },
    redraw() {
      if (!this._map || !this._min) return;
      const ratio = window.devicePixelRatio || 1;
      const context = this._canvas.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, this._canvas.width, this._canvas.height);
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      const t = frame.toLayer(this._map, pixel());
      t.tx -= this._min.x;
      t.ty -= this._min.y;
      draw(context, t);
    },
  });
  return new Ink();
}
