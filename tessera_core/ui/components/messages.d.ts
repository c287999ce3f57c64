// What travels between Python and the browser, for the type checker alone (nothing of this file is sent to a browser).
// `tests/ui/test_messages.py` compares the keys with what Python really sends.

/** Coordinates of the display frame: EPSG:3857 metres, or x = column and y = -row. */
export type XY = [number, number];
/** Corners one after the other: x, y, x, y, ... */
export type Ring = number[];
/** West, south, east, north. */
export type Bounds = [number, number, number, number];
export type FrameKind = "mercator" | "pixel";
/** Point, area, rectangle, brush stroke, erasing stroke. */
export type ShapeKind = "p" | "a" | "r" | "b" | "e";
/** Class, kind, radius in pixels of the scene, rings. */
export type Shape = [number, ShapeKind, number, ...Ring[]];
/** `#rrggbb` and what it stands for. */
export type LegendEntry = [string, string];

export interface BaseMap {
  name: string;
  url: string;
  zoom: number;
  attribution: string;
  /** What people are told of it: its date beside that of the map, and what may be done with it. */
  about: string;
  kind: "xyz" | "tms" | "wms";
  wms: WmsRequest | null;
  /** Names of the zoom levels, empty for one that is not there; none where they are 0, 1, 2, ... */
  levels: string[];
}

export interface WmsRequest {
  layers: string;
  styles: string;
  format: string;
  version: string;
  crs: "EPSG:3857" | "EPSG:4326";
  time: string;
}

/** Where an exchange of numbered messages stands. */
export interface Answer {
  epoch: string;
  ack: number;
  seen: number;
}

/** What people do to labels and classes; below 0 a class is minus the number of the operation that adds it. */
export type Operation = { id?: number } & (
  | { do: "undo" | "redo" }
  | { do: "add"; tool: string; class: number; pts: number[][]; radius: number }
  | { do: "edit_label"; label: string; class?: number; note?: string; rings?: XY[][] }
  | { do: "remove_label"; label: string }
  | { do: "add_class"; name: string }
  | { do: "edit_class"; class: number; name?: string; color?: string }
  | { do: "remove_class"; class: number }
  | { do: "merge_classes"; class: number; into: number }
  // On the channel beside the map.
  | { do: "stop_map" }
  | { do: "similar_labels"; percent: number; class?: number; name?: string }
);

/** What people do on a map to look at. */
export type SentEvent =
  | { id?: number; kind: "look"; names: string[] }
  | { id?: number; kind: "click" | "box" | "polygon" | "marker" | "outline"; xy: number[][]; target: string };

/** What a learner does in the panel of a lesson, and on the page beside it. */
export type LessonEvent = { id?: number } & (
  | { kind: "did"; what: "used" | "seen"; target: string }
  | { kind: "answer"; step: string; choice: number }
  | { kind: "next" | "skip" | "back" | "solve"; step: string }
  | { kind: "look" | "restart" | "leave" | "follow" }
);

/** What a learner thought, what the score says, and what is true: shares, and pictures as data addresses. */
export interface LessonTruth {
  claim: string;
  score: string;
  sample: string;
  right: string;
  shares: [string, string][];
  pictures: [string, string][];
}

/** `ui/lesson/panel.py`: the step of a lesson that is shown. */
export interface LessonHeader {
  kind: "lesson";
  key: string;
  epoch: string;
  seen: number;
  title: string;
  step: string;
  number: number;
  of: number;
  heading: string;
  text: string[];
  points: string[];
  question: string;
  choices: string[];
  chosen: number | null;
  reply: string;
  hint: string;
  told: string;
  done: boolean;
  waits: boolean;
  last: boolean;
  solvable: boolean;
  picture: string;
  truth: LessonTruth | null;
  target: string;
  selector: string;
  page: string;
  here: boolean;
  address: string;
  lessons: string;
  following: string; // the button to the next lesson, at the end of one; empty where none follows
  problem: string;
  lost: string; // what became of a label that does not count; empty where each does
  words: Record<string, string>;
}

/** A picture that moves, beside its frames: `lessons/pictures.py`. */
export interface LessonPictureHeader {
  kind: "lesson_picture";
  key: string;
  name: string;
  alt: string;
  captions: string[];
  words: Record<string, string>;
}

/** Kind of a mark, and the word that a text shows. */
export type PictureMark = ["dot" | "line" | "cell" | "text", string];

export interface MovingPicture {
  width: number;
  height: number;
  palette: string[];
  marks: PictureMark[];
  frames: number[][][];
}

export interface LabelClass {
  id: number;
  name: string;
  color: string;
  count: number;
  area: number | null;
}

/** What the card says of one label that is not in the list of all. */
export interface Particulars {
  id: string;
  note: string;
  made: number | null;
  pixels: number;
  counted: number;
  area: number;
}

/** `session/live_map.py`, with the palette PNG of the class map. */
export interface LabelHeader extends Answer {
  kind: "map";
  key: string;
  scene: string;
  place: string;
  seq: number;
  created: [number, number][];
  notes: [number, string][];
  bounds: Bounds;
  frame: FrameKind;
  pixel: number;
  metres: number | null;
  title: string;
  subtitle: string;
  classes: LabelClass[];
  unit: "ha" | "px";
  undo: boolean;
  redo: boolean;
  /** Whether the map is of what is in sight, and that of the rest comes after it as a picture. */
  large: boolean;
  map: { v: string; levels: number; bounds: Bounds } | null;
  saved: number | null;
  hint: string;
  stamp: string;
  version: number;
  preview: boolean;
  selected: Particulars | null;
  pictures: string[];
  base: BaseMap[];
  labels: [string, ...Shape][];
}

/** A static picture of the label map, or one that was worked out. */
export interface PictureHeader {
  kind: "picture";
  key: string;
  name: string;
  scene: string;
  bounds: Bounds;
  version: string;
  mode?: string;
  /** Of the map of a large region: steps of confidence, and its classes in the order of the palette. */
  levels?: number;
  classes?: number[];
}

export interface Score {
  fresh: boolean;
  accuracy: number | null;
  low: number | null;
  high: number | null;
  naive: number | null;
  labels: number;
  places: number;
  headline: string;
  gap: string;
  weakest: string;
  confused: string;
  notes: string[];
}

/** A place where a label would teach most. */
export interface Query {
  xy: XY;
  text: string;
  likely: number[];
}

/** A label, or several, that look wrong. */
export interface LabelIssue {
  kind: string;
  severity: string;
  text: string;
  labels: string[];
  xy: XY | null;
  classes: number[];
}

export interface ExtraLayer {
  name: string;
  title: string;
  version: string;
  sentence: string;
  legend: LegendEntry[];
  mode: string;
}

/** What people are told about a picture that the map lies on. */
export interface CanvasPicture {
  title: string;
  sentence: string;
}

/** Likeness to chosen places; with a problem there is nothing else. */
export interface Similar {
  problem: string;
  start?: number;
  areas?: number[];
  bars?: number[];
  examples?: number;
}

/** `session/insight_protocol.py`: what is known about the map. */
export interface InsightHeader extends Answer {
  kind: "insight";
  key: string;
  run: number;
  notes: [number, string][];
  ready: boolean;
  version: number;
  pending: boolean;
  stage: string;
  /** What is being worked out takes a while, so that there is no need to look often. */
  patient: boolean;
  progress: number;
  problem: string;
  score: Score | null;
  next: Query[];
  issues: LabelIssue[];
  withheld: string;
  confidence: string;
  layers: ExtraLayer[];
  similar: Similar | null;
  error: number;
  stamp: string;
  chosen: { id: string | null; number: number };
  canvas: { wish: string; satellite: CanvasPicture; embedding: CanvasPicture };
}

/** Which numbers a layer's colours stand for. */
export interface ColourScale {
  low: number;
  high: number;
  colours: string[];
  unit: string;
  sign: string;
  below: boolean;
  above: boolean;
}

export interface ViewLayer {
  name: string;
  version: string;
  title: string;
  opacity: number;
  on: boolean;
  legend: LegendEntry[];
  group: "overlay" | "base";
  sent: boolean;
  scale?: ColourScale;
  /** Each colour of the picture is that of one entry of the legend. */
  coded?: boolean;
}

/** Id, x, y, label, colour, text, kind. */
export type MarkerEntry = [string, number, number, string, string, string, "dot" | "pin" | "number"];
/** Id, colour, opacity of its inside, text, whether it is closed, rings. */
export type OutlineEntry = [string, string, number, string, boolean, Ring[]];
export type DrawTool = "click" | "box" | "polygon";

/** `view_map`: everything about the map but its pictures. */
export interface ViewHeader {
  kind: "map";
  key: string;
  place: string;
  frame: FrameKind;
  bounds: Bounds | null;
  pixel: number | null;
  epoch: string;
  seen: number;
  layers: ViewLayer[];
  markers: MarkerEntry[];
  outlines: OutlineEntry[];
  tools: DrawTool[];
  swipe: [string, string] | null;
  beside: boolean;
  fly: Bounds | null;
  base: BaseMap[];
  world: boolean;
  height: number | null;
  title: string;
  subtitle: string;
  link: string;
  sticky: boolean;
}

/** `view_map`: a picture of it. */
export interface LayerHeader {
  kind: "layer";
  key: string;
  name: string;
  version: string;
  place: string;
  bounds: Bounds | null;
}

export interface WorldHeader {
  kind: "world";
  key: string;
}

/** Land and borders as rings and lines. */
export interface World {
  land: Ring[];
  borders: Ring[];
}

/** `scatter`: colours of its points as palette indices. */
export interface ScatterHeader {
  kind: "scatter";
  key: string;
  link: string;
  height: number;
  version: string;
  palette: string[];
  legend: LegendEntry[];
  axes: string[];
  note: string;
  seen: number;
}

/** `scatter`: where its points lie. */
export interface PointsHeader {
  kind: "points";
  key: string;
  version: string;
  count: number;
  dims: 2 | 3;
}

/** What Streamlit hands to a component of the second kind. */
export interface Component {
  data: Uint8Array;
  parentElement: HTMLElement | ShadowRoot;
  setTriggerValue: Trigger;
}
export type Trigger = (name: string, value: unknown) => void;

/** The global object where a loader and the mounts of its component meet. */
export interface Hub {
  waiting: Map<HTMLElement | ShadowRoot, Component>;
  loading?: Promise<void>;
  /** Loads the modules; nothing while they are under way or there. */
  load?: () => void;
  render?: (component: Component) => void;
  unmount?: (parent: HTMLElement | ShadowRoot) => void;
}

/** Which language the page speaks, and the cookie that remembers it. */
export interface Language {
  language: string;
  rtl: boolean;
  cookie: string;
  /** Words of Streamlit's own widgets: English to the language; none for English. */
  words: Record<string, string>;
}
