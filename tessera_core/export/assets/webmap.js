// The page of a web map: draws the layers that the file carries, and says what lies under the pointer. Needs Leaflet as L.

/**
 * @typedef {{id: number, name: string, color: string, area: string}} MapClass
 * @typedef {{name: string, url: string, zoom: number, attribution: string}} BaseMap
 * @typedef {object} MapData
 * @property {"mercator" | "pixel"} frame
 * @property {[number, number, number, number]} bounds west, south, east, north in the frame's units
 * @property {[number, number]} shape rows and columns of the layers
 * @property {string} pixels base64 of deflated bytes: a class id for each pixel, then a confidence
 * @property {MapClass[]} classes
 * @property {string[]} colormap colours of confidence, 0 to 100 percent
 * @property {{name: string, url: string} | null} picture
 * @property {BaseMap[]} baseMaps
 * @property {Record<string, string>} words what is said here: English to the language of the page; none for English
 */

(() => {
  /** @type {MapData} */
  const data = JSON.parse(element("map-data").textContent || "");
  const [rows, cols] = data.shape;
  const [west, south, east, north] = data.bounds;
  const NO_CONFIDENCE = 255;

  /** A sentence in the language of the page. @param {string} text @param {Record<string, string | number>} [values] */
  function said(text, values = {}) {
    const form = Object.hasOwn(data.words, text) ? data.words[text] : text;
    return form.replace(/\{(\w+)\}/g, (place, name) => String(values[name] ?? place));
  }

  /** @param {string} id */
  function element(id) {
    const found = document.getElementById(id);
    if (!found) throw new Error(`the page has no ${id}`);
    return found;
  }

  /** @param {string} text of the form #rrggbb @returns {[number, number, number]} */
  function bytes(text) {
    const value = Number.parseInt(text.slice(1), 16);
    return [value >> 16, (value >> 8) & 255, value & 255];
  }

  /** @param {string} text */
  async function inflated(text) {
    const raw = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // In the frame's units; L.CRS.Simple takes (y, x).
  const projected = data.frame === "mercator";
  /** @param {number} x @param {number} y */
  const place = (x, y) => (projected ? L.CRS.EPSG3857.unproject(L.point(x, y)) : L.latLng(y, x));
  const bounds = L.latLngBounds(place(west, south), place(east, north));
  const map = L.map("map", {
    crs: projected ? L.CRS.EPSG3857 : L.CRS.Simple,
    minZoom: projected ? 1 : -8,
    maxZoom: projected ? 19 : 6,
    zoomSnap: 0.25,
    attributionControl: false,
  });
  // Beside the panel, or above it on a phone.
  const panel = element("panel").getBoundingClientRect();
  const narrow = panel.width > 0.9 * window.innerWidth;
  const covered = narrow ? L.point(12, panel.height + 12) : L.point(panel.width + 24, 12);
  map.fitBounds(bounds, { paddingTopLeft: [12, 12], paddingBottomRight: covered });
  if (data.baseMaps.length)
    L.control.attribution({ prefix: false, position: narrow ? "topright" : "bottomleft" }).addTo(map);
  if (projected) L.control.scale({ imperial: false }).addTo(map);

  /** @param {string} name @param {number} level */
  function pane(name, level) {
    map.createPane(name).style.zIndex = String(level);
    return name;
  }

  /**
   * A switch with a slider of opacity for a layer.
   * @param {string} name @param {L.Layer & {setOpacity(value: number): unknown}} layer @param {boolean} shown @param {number} opacity
   */
  function control(name, layer, shown, opacity) {
    const row = document.createElement("div");
    row.className = "layer";
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = shown;
    label.append(box, document.createTextNode(name));
    const slider = document.createElement("input");
    slider.type = "range";
    slider.min = "0";
    slider.max = "100";
    slider.value = String(Math.round(100 * opacity));
    slider.setAttribute("aria-label", said("Opacity of {name}", { name }));
    box.addEventListener("change", () => (box.checked ? layer.addTo(map) : layer.remove()));
    slider.addEventListener("input", () => layer.setOpacity(Number(slider.value) / 100));
    row.append(label, slider);
    element("layers").append(row);
    if (shown) layer.addTo(map);
  }

  /** @param {(pixel: number, into: Uint8ClampedArray, at: number) => void} colour */
  function painted(colour) {
    const canvas = document.createElement("canvas");
    canvas.width = cols;
    canvas.height = rows;
    const context = canvas.getContext("2d");
    if (!context) throw new Error("this browser draws no canvas");
    const picture = context.createImageData(cols, rows);
    for (let pixel = 0; pixel < rows * cols; pixel += 1) colour(pixel, picture.data, 4 * pixel);
    context.putImageData(picture, 0, 0);
    return canvas;
  }

  /** @param {HTMLCanvasElement} canvas @param {string} name @param {number} level @param {number} opacity */
  function overlay(canvas, name, level, opacity) {
    // An SVG overlay of Leaflet places whatever element it is given.
    const layer = L.svgOverlay(/** @type {any} */ (canvas), bounds, { pane: pane(name, level), opacity });
    canvas.classList.add("pixels");
    return layer;
  }

  async function start() {
    const values = await inflated(data.pixels);
    const ids = values.subarray(0, rows * cols);
    const sure = values.subarray(rows * cols);
    const byId = new Map(data.classes.map((one) => [one.id, one]));
    /** @type {[number, number, number][]} */
    const colours = [];
    for (const one of data.classes) colours[one.id] = bytes(one.color);
    const colormap = data.colormap.map(bytes);

    data.baseMaps.forEach((one, number) => {
      const tiles = L.tileLayer(one.url, {
        maxZoom: 19,
        maxNativeZoom: one.zoom,
        attribution: one.attribution,
        pane: pane(`base${number}`, 150 + number),
      });
      control(said("{name} (internet)", { name: one.name }), tiles, number === 0, 1);
    });
    if (data.picture) {
      const layer = L.imageOverlay(data.picture.url, bounds, { pane: pane("picture", 210), className: "pixels" });
      control(data.picture.name, layer, data.baseMaps.length === 0, 1);
    }
    const classes = painted((pixel, into, at) => {
      const colour = colours[ids[pixel]];
      if (colour) into.set([...colour, 255], at);
    });
    control(said("Classes"), overlay(classes, "classes", 220, 0.75), true, 0.75);
    const confidence = painted((pixel, into, at) => {
      if (ids[pixel] && sure[pixel] !== NO_CONFIDENCE) into.set([...colormap[Math.min(sure[pixel], 100)], 255], at);
    });
    control(said("Confidence"), overlay(confidence, "confidence", 230, 0.9), false, 0.9);
    element("colormap").style.background = `linear-gradient(to right, ${data.colormap.join(",")})`;

    /** @param {L.LatLng} where */
    function tell(where) {
      const point = projected ? L.CRS.EPSG3857.project(where) : L.point(where.lng, where.lat);
      const col = Math.floor(((point.x - west) / (east - west)) * cols);
      const row = Math.floor(((north - point.y) / (north - south)) * rows);
      if (col < 0 || row < 0 || col >= cols || row >= rows) return;
      const pixel = row * cols + col;
      const found = byId.get(ids[pixel]);
      const box = document.createElement("div");
      const name = document.createElement("strong");
      name.textContent = found ? found.name : said("No data");
      box.append(name);
      const lines = [];
      if (found && sure[pixel] !== NO_CONFIDENCE) lines.push(said("{percent} % sure", { percent: sure[pixel] }));
      if (projected)
        lines.push(
          said("{lat}, {lon} (latitude, longitude)", { lat: where.lat.toFixed(5), lon: where.lng.toFixed(5) }),
        );
      for (const text of lines) {
        const line = document.createElement("div");
        line.textContent = text;
        box.append(line);
      }
      L.popup({ autoPanPadding: [20, 20] })
        .setLatLng(where)
        .setContent(box)
        .openOn(map);
    }
    map.on("click", (event) => tell(event.latlng));
    map.getContainer().addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target === map.getContainer()) tell(map.getCenter());
    });
    document.documentElement.dataset.ready = "true";
  }

  start().catch((error) => {
    element("trouble").textContent = said(
      "The map cannot be drawn by this browser. Open the file in a current Firefox, Chrome, Edge or Safari.",
    );
    element("trouble").hidden = false;
    console.error(error);
  });
})();
