// Leaflet layers of our own: pictures drawn on a canvas, and ink (labels as vectors).

// Place on Earth or pixel frame, both linear on the screen at a given zoom.
export class Frame {
  constructor(L, kind) {
    this.L = L;
    this.kind = kind;
    this.crs = kind === "mercator" ? L.CRS.EPSG3857 : L.CRS.Simple;
  }
  latLng(x, y) {
    return this.kind === "mercator" ? this.crs.projection.unproject(this.L.point(x, y)) : this.L.latLng(y, x);
  }
  xy(latLng) {
    if (this.kind !== "mercator") return [latLng.lng, latLng.lat];
    const p = this.crs.projection.project(latLng);
    return [p.x, p.y];
  }
  bounds([west, south, east, north]) {
    return this.L.latLngBounds(this.latLng(west, south), this.latLng(east, north));
  }
  // x, y -> pixels of the map's container: [scale x, shift x, scale y, shift y].
  toContainer(map) {
    const [x0, y0] = this.xy(map.getCenter());
    const d = this.kind === "mercator" ? 1000 : 10;
    const a = map.latLngToLayerPoint(this.latLng(x0, y0));
    const zoom = map.getZoom();
    const p = map.project(this.latLng(x0, y0), zoom);
    const q = map.project(this.latLng(x0 + d, y0 + d), zoom);
    const sx = (q.x - p.x) / d;
    const sy = (q.y - p.y) / d;
    return { sx, sy, tx: a.x - sx * x0, ty: a.y - sy * y0 };
  }
}

export function makePicture(L, frame, bounds, pane) {
  const Picture = L.ImageOverlay.extend({
    _initImage() {
      const canvas = (this._image = this._canvas ??= document.createElement("canvas"));
      L.DomUtil.addClass(canvas, "leaflet-image-layer");
      if (this._zoomAnimated) L.DomUtil.addClass(canvas, "leaflet-zoom-animated");
      canvas.style.imageRendering = "pixelated";
    },
    // Decoded before it is drawn and drawn in one go: no blank frame between two pictures.
    draw(bitmap) {
      const canvas = (this._canvas ??= document.createElement("canvas"));
      if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
        canvas.width = bitmap.width;
        canvas.height = bitmap.height;
      }
      const context = canvas.getContext("2d");
      context.globalCompositeOperation = "copy";
      context.drawImage(bitmap, 0, 0);
      bitmap.close();
    },
  });
  return new Picture("", frame.bounds(bounds), { pane, interactive: false });
}

const TAU = 2 * Math.PI;

// One label of the server: [class, kind, radius in pixels, ring, ...holes] or one still on its way.
export function drawShape(context, t, shape, colour, dot) {
  const [, kind, radius, ...rings] = shape;
  const ring = rings[0];
  const px = (i) => t.sx * ring[i] + t.tx;
  const py = (i) => t.sy * ring[i + 1] + t.ty;
  context.globalCompositeOperation = "source-over";
  if (kind === "p") {
    context.beginPath();
    context.arc(px(0), py(0), dot, 0, TAU);
    context.fillStyle = colour;
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = "#fff";
    context.stroke();
    context.beginPath();
    context.arc(px(0), py(0), dot + 1.5, 0, TAU);
    context.lineWidth = 1;
    context.strokeStyle = "rgba(0,0,0,.65)";
    context.stroke();
  } else if (kind === "b" || kind === "e") {
    const width = Math.max(2 * radius * Math.abs(t.pixel), 2);
    const path = new Path2D();
    path.moveTo(px(0), py(0));
    for (let i = 2; i < ring.length; i += 2) path.lineTo(px(i), py(i));
    if (ring.length === 2) path.lineTo(px(0) + 0.01, py(0));
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = width;
    if (kind === "e") {
      context.globalCompositeOperation = "destination-out";
      context.strokeStyle = "#000";
      context.stroke(path);
      context.globalCompositeOperation = "source-over";
    } else {
      context.globalAlpha = 0.8;
      context.lineWidth = width + 3;
      context.strokeStyle = "#fff";
      context.stroke(path);
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke(path);
      context.globalAlpha = 1;
    }
  } else {
    const path = new Path2D();
    for (const line of rings) {
      for (let i = 0; i < line.length; i += 2) {
        const x = t.sx * line[i] + t.tx;
        const y = t.sy * line[i + 1] + t.ty;
        if (i) path.lineTo(x, y);
        else path.moveTo(x, y);
      }
      path.closePath();
    }
    context.globalAlpha = 0.4;
    context.fillStyle = colour;
    context.fill(path, "evenodd");
    context.globalAlpha = 1;
    context.lineJoin = "round";
    context.lineWidth = 3.5;
    context.strokeStyle = "#fff";
    context.stroke(path);
    context.lineWidth = 2;
    context.strokeStyle = colour;
    context.stroke(path);
  }
}

// A point that a later erase stroke covers is gone, however large its dot is drawn.
export function withoutErased(shapes, pixel) {
  const erasers = [];
  const kept = [];
  for (let n = shapes.length - 1; n >= 0; n--) {
    const shape = shapes[n];
    if (shape[1] === "e") erasers.push(shape);
    if (shape[1] === "p" && erasers.some((e) => covers(e, shape[3], pixel))) continue;
    kept.push(shape);
  }
  return kept.reverse();
}

function covers([, , radius, ring], [x, y], pixel) {
  return distance(ring, x, y) <= (Math.max(radius, 0) + 0.71) * pixel;
}

// How far a place is from a line of corners, in the frame's units.
export function distance(ring, x, y, closed = false) {
  let least = Infinity;
  for (let i = 0; i < ring.length; i += 2) {
    const j = i ? i - 2 : closed ? ring.length - 2 : 0;
    const dx = ring[i] - ring[j];
    const dy = ring[i + 1] - ring[j + 1];
    const length = dx * dx + dy * dy;
    const at = length ? Math.max(0, Math.min(1, ((x - ring[j]) * dx + (y - ring[j + 1]) * dy) / length)) : 0;
    least = Math.min(least, Math.hypot(x - ring[j] - at * dx, y - ring[j + 1] - at * dy));
  }
  return least;
}

export function makeInk(L, frame, draw, pane = "ink") {
  const Ink = L.Layer.extend({
    onAdd(map) {
      this._map = map;
      this._canvas = L.DomUtil.create("canvas", "leaflet-zoom-animated tl-ink");
      map.getPane(pane).appendChild(this._canvas);
      this._reset();
    },
    onRemove() {
      this._canvas.remove();
    },
    getEvents() {
      const events = { viewreset: this._reset, moveend: this._reset, resize: this._reset, zoom: this._transform };
      if (this._map._zoomAnimated) events.zoomanim = (e) => this._place(e.center, e.zoom);
      return events;
    },
    _transform() {
      this._place(this._map.getCenter(), this._map.getZoom());
    },
    // Scales the drawn canvas while a zoom is under way, as Leaflet does with its own renderers.
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
      const t = frame.toContainer(this._map);
      t.tx -= this._min.x;
      t.ty -= this._min.y;
      draw(context, t);
    },
  });
  return new Ink();
}
