// The map as a PNG: pictures, outlines, markers, scale bar, north and legend drawn on one canvas.

import { gradient, rangeText } from "./scales.js";

export async function savePicture(view) {
  const ratio = 2;
  const { clientWidth: width, clientHeight: height } = view.box;
  const canvas = document.createElement("canvas");
  const foot = view.legend.hidden ? 0 : legendHeight(view, width);
  canvas.width = width * ratio;
  canvas.height = (height + foot) * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height + foot);
  for (const stage of view.stages) drawStage(context, view, stage);
  plates(context, view, width, height);
  if (foot) legend(context, view, width, height);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  const name = [view.header.title, view.header.subtitle].join(" ").trim().replace(/[^\p{L}\p{N}]+/gu, "-").toLowerCase() || "map";
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(blob);
  anchor.download = `${name}.png`;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 10000);
}

function drawStage(context, view, stage) {
  const left = stage.box.offsetLeft;
  const { clientWidth: width, clientHeight: height } = stage.box;
  context.save();
  context.beginPath();
  context.rect(left, 0, width, height);
  context.clip();
  const origin = stage.box.getBoundingClientRect();
  const put = (element, opacity, clip) => {
    const box = element.getBoundingClientRect();
    context.save();
    if (clip) {
      context.beginPath();
      context.rect(left + clip[0] * width, 0, (clip[1] - clip[0]) * width, height);
      context.clip();
    }
    context.globalAlpha = opacity;
    context.imageSmoothingEnabled = false;
    context.drawImage(element, left + box.left - origin.left, box.top - origin.top, box.width, box.height);
    context.restore();
  };
  const panes = stage.map.getPanes();
  for (const element of panes.land.querySelectorAll("canvas")) put(element, 1);
  for (const tile of panes.base.querySelectorAll("img")) if (tile.complete && tile.naturalWidth) put(tile, view.memory.base.opacity);
  const at = view.memory.compare.at;
  const shown = view.shown(view.stages.indexOf(stage));
  for (const name of [...stage.pictures.keys()].sort((a, b) => stage.pane(a).style.zIndex - stage.pane(b).style.zIndex)) {
    if (!shown.has(name)) continue;
    const [onLeft, onRight] = stage.sides(name);
    const clip = onLeft && onRight ? null : onLeft ? [0, at] : [at, 1];
    put(stage.pane(name).querySelector("canvas"), shown.get(name), clip);
  }
  for (const element of panes.ink.querySelectorAll("canvas")) put(element, 1);
  if (stage.pair) {
    context.fillStyle = "#fff";
    context.fillRect(left + at * width - 1, 0, 2, height);
  }
  context.restore();
}

function plate(context, text, x, y, align = "left") {
  context.font = "13px system-ui, sans-serif";
  const width = context.measureText(text).width + 16;
  const left = align === "right" ? x - width : align === "center" ? x - width / 2 : x;
  context.fillStyle = "rgba(255,255,255,.9)";
  context.fillRect(left, y, width, 24);
  context.fillStyle = "#16191d";
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillText(text, left + 8, y + 12.5);
  return width;
}

function plates(context, view, width, height) {
  const { header } = view;
  const title = [header.title, header.subtitle].filter(Boolean).join("  ");
  if (header.frame === "mercator") plate(context, title ? `${title}   ▲ N` : "▲ N", width - 10, 10, "right");
  else if (title) plate(context, title, width - 10, 10, "right");
  const mode = view.memory.compare.mode;
  if (mode !== "off") {
    const titles = new Map(header.layers.map((layer) => [layer.name, layer.title]));
    const { left, right, at } = view.memory.compare;
    plate(context, titles.get(left), width * (mode === "beside" ? 0.25 : at / 2), height - 66, "center");
    plate(context, titles.get(right), width * (mode === "beside" ? 0.75 : (1 + at) / 2), height - 66, "center");
  }
  const bar = view.scaleBar?.getContainer()?.querySelector(".leaflet-control-scale-line");
  if (bar && header.frame === "mercator") {
    const length = bar.offsetWidth;
    plate(context, bar.textContent, 10, height - 36);
    context.fillStyle = "#16191d";
    context.fillRect(10, height - 12, length, 2);
    context.fillRect(10, height - 17, 2, 7);
    context.fillRect(10 + length - 2, height - 17, 2, 7);
  }
  const credit = view.map.attributionControl?._container?.textContent ?? view.stages[0].box.querySelector(".leaflet-control-attribution")?.textContent;
  if (credit) plate(context, credit, width - 10, height - 30, "right");
}

function entries(view) {
  const visible = new Set(view.stages.flatMap((_, side) => [...view.shown(side).keys()]));
  return view.header.layers.filter((layer) => visible.has(layer.name)).flatMap((layer) => [
    ...(layer.scale ? [[gradient(layer.scale), `${layer.title}: ${rangeText(layer.scale)}`]] : []),
    ...layer.legend,
  ]);
}

function legendHeight(view, width) {
  return 16 + 22 * Math.ceil(entries(view).length / Math.max(1, Math.floor(width / 190)));
}

function legend(context, view, width, top) {
  const columns = Math.max(1, Math.floor(width / 190));
  context.font = "13px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.textAlign = "left";
  entries(view).forEach(([colour, text], i) => {
    const x = 12 + (i % columns) * 190;
    const y = top + 8 + 22 * Math.floor(i / columns);
    const bar = Array.isArray(colour);
    const colours = bar ? colour : [colour];
    const width = bar ? 44 : 16;
    colours.forEach((each, k) => {
      context.fillStyle = each;
      context.fillRect(x + (k * width) / colours.length, y + 3, Math.ceil(width / colours.length), 16);
    });
    context.fillStyle = "#16191d";
    context.fillText(text, x + width + 8, y + 11, 176 - width);
  });
}
