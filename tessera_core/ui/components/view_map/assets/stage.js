// One Leaflet map with its pictures and ink. A view has one, or two side by side that move together.

import { Frame, makeInk, makePicture } from "./layers.js";
import { drawMarkers, drawOutlines, drawPoints, drawWorld } from "./shapes.js";

export class Stage {
  constructor(view, box, frameKind) {
    Object.assign(this, { view, box, L: view.L });
    this.frame = new Frame(this.L, frameKind);
    this.map = this.L.map(box, {
      crs: this.frame.crs, zoomControl: false, attributionControl: false, doubleClickZoom: false, boxZoom: false, zoomSnap: 0.25, zoomDelta: 1,
      wheelPxPerZoomLevel: 90, minZoom: frameKind === "mercator" ? 0.5 : -6, maxZoom: 24, maxBoundsViscosity: 0.7, worldCopyJump: false,
    });
    this.pictures = new Map();
    for (const [name, z] of [["land", 205], ["base", 210], ["ink", 450]]) this.map.createPane(name).style.zIndex = z;
    this.L.control.attribution({ prefix: false, position: "bottomright" }).addTo(this.map);
    this.land = makeInk(this.L, this.frame, (context, t) => view.header?.world && view.world && drawWorld(context, t, view.world, view.dark), "land").addTo(this.map);
    this.ink = makeInk(this.L, this.frame, (context, t) => this.drawInk(context, t)).addTo(this.map);
    this.map.on("move zoom resize", () => this.clip());
  }

  destroy() {
    this.map.remove();
  }

  drawInk(context, t) {
    const { view } = this;
    const { header } = view;
    if (!header) return;
    t.pixel = t.sx * (header.pixel ?? 0);
    drawOutlines(context, t, header.outlines, view.pointedId);
    const shared = view.shared;
    if (shared?.points) drawPoints(context, t, shared.points, shared.selected, shared.colours, shared.hover);
    drawMarkers(context, t, header.markers, view.pointedId);
  }

  // ------------------------------------------------------------------- pictures

  pane(name) {
    return this.map.getPane(`layer-${name}`);
  }

  // Draws a decoded picture; the one before stays until then, so that nothing blinks.
  show(name, bitmap, bounds) {
    let layer = this.pictures.get(name);
    if (!layer) {
      if (!this.pane(name)) this.map.createPane(`layer-${name}`);
      layer = makePicture(this.L, this.frame, bounds, `layer-${name}`);
      this.pictures.set(name, layer);
    }
    layer.draw(bitmap);
    if (!this.map.hasLayer(layer)) layer.addTo(this.map);
  }

  drop(name) {
    this.pictures.get(name)?.remove();
    this.pictures.delete(name);
  }

  // order: names from low to high; shown: name -> opacity.
  arrange(order, shown, pair) {
    this.pair = pair;
    order.forEach((name, i) => {
      const pane = this.pane(name);
      if (!pane) return;
      pane.style.zIndex = 310 + i;
      pane.style.display = shown.has(name) ? "" : "none";
      pane.style.opacity = shown.get(name) ?? 1;
    });
    this.clip();
  }

  // On which sides of the divider a layer lies: both without one, for overlays above the pair, and for a layer beside itself.
  sides(name) {
    const { pair } = this;
    return pair?.includes(name) ? [name === pair[0], name === pair[1]] : [true, true];
  }

  // With a divider, the left layer is cut at it on the right and the right one on the left.
  clip() {
    const at = this.view.memory.compare.at;
    const size = this.map.getSize();
    const min = this.map.containerPointToLayerPoint([0, 0]);
    const max = this.map.containerPointToLayerPoint(size);
    const middle = min.x + size.x * at;
    for (const name of this.pictures.keys()) {
      const pane = this.pane(name);
      const sides = this.sides(name);
      if (sides[0] && sides[1]) pane.style.clip = "";
      else if (sides[0]) pane.style.clip = `rect(${min.y}px, ${middle}px, ${max.y}px, ${min.x}px)`;
      else pane.style.clip = `rect(${min.y}px, ${max.x}px, ${max.y}px, ${middle}px)`;
    }
  }

  // Base maps come from the internet: off unless asked for, and quietly absent without a connection.
  base(source, opacity, missing) {
    this.map.getPane("base").style.opacity = opacity;
    const name = source?.name ?? null;
    if (name === (this.baseName ?? null)) return;
    this.baseLayer?.remove();
    this.baseLayer = null;
    this.baseName = name;
    missing(false);
    if (!source) return;
    let loaded = 0;
    const layer = this.L.tileLayer(source.url, {
      pane: "base", maxNativeZoom: source.zoom, maxZoom: 24, attribution: source.attribution, crossOrigin: "anonymous",
    });
    const check = () => missing(!loaded && this.baseLayer === layer);
    layer.on("tileload", () => {
      loaded += 1;
      missing(false);
    });
    layer.on("tileerror", check);
    setTimeout(check, 4000);
    this.baseLayer = layer.addTo(this.map);
  }

  // The pointer's pixel position and the transform to compare it with.
  transform() {
    const t = this.frame.toContainer(this.map);
    const shift = this.map.layerPointToContainerPoint([0, 0]);
    t.tx += shift.x;
    t.ty += shift.y;
    t.pixel = t.sx * (this.view.header?.pixel ?? 0);
    return t;
  }
}
