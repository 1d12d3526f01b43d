// The map: points that pan, zoom and are drawn around.
import { Drawing, makeSwatch, mix } from "./map-drawing.js";

const root = document.querySelector("#map");
const points = document.querySelector("#map-points");
const above = document.querySelector("#map-lasso");
const tip = document.querySelector("#map-tip");
const said = document.querySelector("#map-said");
const list = document.querySelector("#map-pictures");
const more = document.querySelector("#map-more");
const asked = new URLSearchParams({
  name: root.dataset.name, where: root.dataset.where, level: root.dataset.level,
});
const AT_ONCE = 60;
const NEAR_PX = 14;
const MOST_CORNERS = 80;
// Of one request, whose body is a megabyte at most.
const MOST_IDS = 50000;
const show = (number) => number.toLocaleString("en");

async function fetchData(path) {
  const answer = await fetch(`${path}?${asked}`);
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return answer.arrayBuffer();
}

// x and y between -1 and 1, of the wider side of the map.
function scalePoints(data) {
  const n = data.byteLength / 12;
  const at = new Float32Array(data, 0, 2 * n);
  const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  for (let i = 0; i < 2 * n; i += 1) {
    const side = i % 2;
    if (at[i] < low[side]) low[side] = at[i];
    if (at[i] > high[side]) high[side] = at[i];
  }
  if (!n) throw new Error("none of these pictures has a place on it");
  const half = Math.max((high[0] - low[0]) / 2, (high[1] - low[1]) / 2, 1e-9);
  const middle = [(high[0] + low[0]) / 2, (high[1] + low[1]) / 2];
  for (let i = 0; i < 2 * n; i += 1) at[i] = (at[i] - middle[i % 2]) / half;
  return { n, at, rows: new Uint32Array(data, 8 * n, n) };
}

function readClasses(data) {
  const length = new DataView(data).getUint32(0, true);
  const text = new TextDecoder().decode(new Uint8Array(data, 4, length));
  return { ...JSON.parse(text), codes: new Uint8Array(data, 4 + length) };
}

class Plot {
  // Mixed, so that no class lies above all others.
  constructor(places, classes) {
    const { n } = places, order = mix(n);
    this.n = n;
    this.at = new Float32Array(2 * n);
    order.forEach((one, i) => this.at.set(places.at.subarray(2 * one, 2 * one + 2), 2 * i));
    this.rows = order.map((one) => places.rows[one]);
    this.codes = Uint8Array.from(order, (one) => classes.codes[one]);
    this.classes = classes;
    this.view = { x: 0, y: 0, zoom: 1 };
    this.chosen = new Uint8Array(n);
    this.picked = [];
    this.lasso = [];
    this.alone = -1;
    this.names = new Map(classes.legend.map((one) => [one.code, one.name]));
    this.drawing = new Drawing(points, this);
    this.waits = 0;
    this.measure();
  }

  measure() {
    const { width, height } = points.getBoundingClientRect();
    this.size = { width, height, unit: 0.46 * Math.min(width, height) };
  }

  toScreen(x, y) {
    const { width, height, unit } = this.size;
    const scale = unit * this.view.zoom;
    return [width / 2 + (x - this.view.x) * scale, height / 2 - (y - this.view.y) * scale];
  }

  toMap(left, top) {
    const { width, height, unit } = this.size;
    const scale = unit * this.view.zoom;
    return [this.view.x + (left - width / 2) / scale, this.view.y - (top - height / 2) / scale];
  }

  // What is moved is drawn at once; what is counted, when it rests.
  draw() {
    if (!this.waits) this.waits = requestAnimationFrame(() => { this.waits = 0; this.drawNow(); });
    clearTimeout(this.rests);
    this.rests = setTimeout(() => this.rest(), 200);
  }

  drawNow() {
    const { width, height, unit } = this.size;
    const isAny = this.picked.length > 0;
    this.drawing.draw({ ...this.view, width, height, unit, alone: this.alone, isAny });
    this.drawLasso(width, height);
  }

  drawLasso(width, height) {
    above.hidden = this.lasso.length < 2;
    if (above.hidden) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    above.width = width * ratio;
    above.height = height * ratio;
    const pen = above.getContext("2d");
    pen.scale(ratio, ratio);
    pen.strokeStyle = getComputedStyle(root).getPropertyValue("color");
    pen.lineWidth = 2;
    pen.setLineDash([6, 4]);
    pen.beginPath();
    for (const [x, y] of this.lasso) pen.lineTo(...this.toScreen(x, y));
    if (!this.isDrawing) pen.closePath();
    pen.stroke();
  }

  get corners() {
    const { width, height } = this.size;
    return [...this.toMap(0, height), ...this.toMap(width, 0)];
  }

  isIn(i, [left, bottom, right, top]) {
    const x = this.at[2 * i], y = this.at[2 * i + 1];
    return x >= left && x <= right && y >= bottom && y <= top
      && (this.alone < 0 || this.codes[i] === this.alone);
  }

  listInView() {
    const found = [], { corners } = this;
    for (let i = 0; i < this.n; i += 1) if (this.isIn(i, corners)) found.push(i);
    return found;
  }

  listInside(line) {
    const found = [], edges = [Infinity, Infinity, -Infinity, -Infinity];
    for (const [x, y] of line) {
      edges[0] = Math.min(edges[0], x); edges[1] = Math.min(edges[1], y);
      edges[2] = Math.max(edges[2], x); edges[3] = Math.max(edges[3], y);
    }
    for (let i = 0; i < this.n; i += 1) {
      if (this.isIn(i, edges) && isInside(line, this.at[2 * i], this.at[2 * i + 1])) found.push(i);
    }
    return found;
  }

  findNearest(left, top) {
    const [x, y] = this.toMap(left, top), { n, at, codes, alone } = this;
    let best = -1, least = (NEAR_PX / (this.size.unit * this.view.zoom)) ** 2;
    for (let i = 0; i < n; i += 1) {
      const dx = at[2 * i] - x, dy = at[2 * i + 1] - y, gap = dx * dx + dy * dy;
      if (gap < least && (alone < 0 || codes[i] === alone)) { best = i; least = gap; }
    }
    return best;
  }

  move(dx, dy) {
    const scale = this.size.unit * this.view.zoom;
    this.view.x = Math.min(2, Math.max(-2, this.view.x - dx / scale));
    this.view.y = Math.min(2, Math.max(-2, this.view.y + dy / scale));
    this.draw();
  }

  zoomAt(factor, left = this.size.width / 2, top = this.size.height / 2) {
    const [x, y] = this.toMap(left, top);
    this.view.zoom = Math.min(2000, Math.max(0.5, this.view.zoom * factor));
    const [nowX, nowY] = this.toMap(left, top);
    this.view.x += x - nowX;
    this.view.y += y - nowY;
    this.draw();
  }

  showAll() {
    this.view = { x: 0, y: 0, zoom: 1 };
    this.draw();
  }

  choose(found, { focus = true } = {}) {
    const places = this.sortFromMiddle(found);
    for (const one of this.picked) this.chosen[one] = 0;
    for (const one of places) this.chosen[one] = 1;
    this.picked = places;
    this.draw();
    showChosen(this, focus);
  }

  // What lies in the middle is shown first.
  sortFromMiddle(places) {
    const n = places.length || 1;
    let x = 0, y = 0;
    for (const one of places) { x += this.at[2 * one] / n; y += this.at[2 * one + 1] / n; }
    const gaps = Float64Array.from(
      places, (one) => (this.at[2 * one] - x) ** 2 + (this.at[2 * one + 1] - y) ** 2,
    );
    const farthest = gaps.reduce((most, one) => Math.max(most, one), 1e-30);
    // How far and which in one number: numbers are sorted at once.
    const keys = gaps.map((gap, i) => Math.floor((gap / farthest) * 2 ** 28) * 2 ** 24 + i);
    return Array.from(keys.sort(), (key) => places[key % 2 ** 24]);
  }

  chooseInside(corners, options) {
    this.lasso = corners;
    this.choose(corners.length > 2 ? this.listInside(corners) : [], options);
  }

  setAlone(code) {
    this.alone = code;
    for (const one of document.querySelectorAll("#map-classes button")) {
      one.setAttribute("aria-pressed", String(Number(one.dataset.code) === code));
    }
    this.draw();
  }

  // The counts and the address follow.
  rest() {
    const counts = new Uint32Array(256), { corners } = this;
    for (let i = 0; i < this.n; i += 1) if (this.isIn(i, corners)) counts[this.codes[i]] += 1;
    for (const cell of document.querySelectorAll("#map-classes [data-count]")) {
      cell.textContent = show(counts[Number(cell.dataset.count)]);
    }
    const n = counts.reduce((sum, one) => sum + one, 0);
    said.textContent = `${show(n)} of ${show(this.n)} pictures in view.`;
    const { x, y, zoom } = this.view;
    const state = new URLSearchParams({ at: [x, y, zoom].map((one) => one.toFixed(4)).join(",") });
    if (this.lasso.length) {
      state.set("lasso", this.lasso.flat().map((one) => one.toFixed(4)).join(","));
    }
    const isWhole = x === 0 && y === 0 && zoom === 1 && !this.lasso.length;
    const address = location.pathname + location.search + (isWhole ? "" : `#${state}`);
    history.replaceState(null, "", address);
  }

  restore() {
    const state = new URLSearchParams(location.hash.slice(1));
    const read = (name) => (state.get(name) || "").split(",").map(Number);
    const [x, y, zoom] = read("at");
    if ([x, y, zoom].every(Number.isFinite) && zoom > 0) this.view = { x, y, zoom };
    const flat = read("lasso");
    if (flat.length >= 6 && flat.every(Number.isFinite)) {
      const corners = [];
      for (let i = 0; i + 1 < flat.length; i += 2) corners.push([flat[i], flat[i + 1]]);
      this.chooseInside(corners, { focus: false });
    }
    this.draw();
  }
}

// By how many sides a ray crosses.
function isInside(corners, x, y) {
  let inside = false;
  for (let i = 0, j = corners.length - 1; i < corners.length; j = i, i += 1) {
    const [x1, y1] = corners[i], [x2, y2] = corners[j];
    if ((y1 > y) !== (y2 > y) && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) inside = !inside;
  }
  return inside;
}

function thin(corners) {
  const step = Math.ceil(corners.length / MOST_CORNERS);
  return corners.filter((_, at) => at % step === 0);
}

function showLegend(plot) {
  const body = document.querySelector("#map-classes");
  for (const { name, n_images: n, code } of plot.classes.legend) {
    const line = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.code = code;
    button.setAttribute("aria-pressed", "false");
    button.append(makeSwatch(code), document.createTextNode(name));
    button.addEventListener("click", () => plot.setAlone(plot.alone === code ? -1 : code));
    head.append(button);
    const here = document.createElement("td");
    here.dataset.count = code;
    const all = document.createElement("td");
    all.textContent = show(n);
    line.append(head, here, all);
    body.append(line);
  }
}

let shown = 0;

async function showMore(plot) {
  const part = plot.picked.slice(shown, shown + AT_ONCE);
  const rows = part.map((one) => plot.rows[one]).join(",");
  const query = new URLSearchParams({ rows, level: root.dataset.level });
  const picked = plot.picked;
  const answer = await fetch(`/map/pictures?${query}`);
  if (picked !== plot.picked) return;
  if (!answer.ok) { said.textContent = `The pictures cannot be shown: ${answer.status}`; return; }
  list.insertAdjacentHTML("beforeend", await answer.text());
  shown += part.length;
  more.hidden = shown >= picked.length;
  more.textContent = `More (${show(picked.length - shown)})`;
}

function showChosen(plot, focus) {
  const place = document.querySelector("#map-chosen");
  const { picked } = plot;
  place.hidden = !picked.length;
  if (!picked.length && focus) said.textContent = "Nothing is chosen.";
  list.replaceChildren();
  for (const one of document.querySelectorAll("#map-kept, #map-done")) one.textContent = "";
  shown = 0;
  if (!picked.length) return;
  const title = document.querySelector("#map-chosen-title");
  title.textContent = `${show(picked.length)} picture${picked.length === 1 ? "" : "s"} chosen`;
  const counts = new Map();
  for (const one of picked) {
    const code = plot.codes[one];
    counts.set(code, (counts.get(code) || 0) + 1);
  }
  const lines = [...counts].sort((one, other) => other[1] - one[1]).map(([code, n]) => {
    const line = document.createElement("li");
    line.textContent = `${plot.names.get(code)}: ${show(n)}`;
    return line;
  });
  document.querySelector("#map-counts").replaceChildren(...lines);
  showMore(plot);
  if (focus) title.focus({ preventScroll: false });
}

function listen(plot) {
  const fingers = new Map();
  let mode = "", start = null, wide = 0, isLasso = false;
  const place = (event) => {
    const { left, top } = points.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };
  const setLasso = (on) => {
    isLasso = on;
    points.classList.toggle("draws", on);
    document.querySelector('[data-act="lasso"]').setAttribute("aria-pressed", String(on));
  };
  const spread = () => {
    const [[x1, y1], [x2, y2]] = [...fingers.values()];
    return { gap: Math.hypot(x1 - x2, y1 - y2), middle: [(x1 + x2) / 2, (y1 + y2) / 2] };
  };

  points.addEventListener("pointerdown", (event) => {
    points.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    start = place(event);
    if (fingers.size === 2) { mode = "pinch"; wide = spread().gap; plot.isDrawing = false; return; }
    mode = isLasso || event.shiftKey ? "lasso" : "press";
    if (mode === "lasso") { plot.isDrawing = true; plot.lasso = [plot.toMap(...start)]; }
    tip.hidden = true;
  });
  points.addEventListener("pointermove", (event) => {
    const here = place(event);
    if (!fingers.has(event.pointerId)) { hover(plot, here); return; }
    const before = fingers.get(event.pointerId);
    fingers.set(event.pointerId, here);
    if (mode === "pinch" && fingers.size === 2) {
      const { gap, middle } = spread();
      if (wide > 0) plot.zoomAt(gap / wide, ...middle);
      wide = gap;
    } else if (mode === "lasso") {
      plot.lasso.push(plot.toMap(...here));
      plot.draw();
    } else if (mode === "move" || Math.hypot(here[0] - start[0], here[1] - start[1]) > 4) {
      mode = "move";
      points.classList.add("moves");
      plot.move(here[0] - before[0], here[1] - before[1]);
    }
  });
  const end = (event) => {
    if (!fingers.delete(event.pointerId)) return;
    points.classList.remove("moves");
    const was = mode;
    if (fingers.size) return;
    mode = "";
    plot.isDrawing = false;
    if (event.type === "pointercancel") return;
    if (was === "lasso") {
      setLasso(false);
      plot.chooseInside(thin(plot.lasso));
    } else if (was === "press") {
      const found = plot.findNearest(...place(event));
      plot.lasso = [];
      plot.choose(found < 0 ? [] : [found], { focus: false });
    }
  };
  points.addEventListener("pointerup", end);
  points.addEventListener("pointercancel", end);
  points.addEventListener("pointerleave", () => { tip.hidden = true; });
  points.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    plot.zoomAt(Math.exp(-0.0016 * lines * event.deltaY), ...place(event));
  }, { passive: false });

  const acts = {
    in: () => plot.zoomAt(1.5),
    out: () => plot.zoomAt(1 / 1.5),
    all: () => plot.showAll(),
    lasso: () => setLasso(!isLasso),
    view: () => { plot.lasso = []; plot.choose(plot.listInView()); },
    none: () => { setLasso(false); plot.lasso = []; plot.setAlone(-1); plot.choose([]); },
  };
  for (const button of document.querySelectorAll("[data-act]")) {
    button.addEventListener("click", acts[button.dataset.act]);
  }
  const keys = {
    "+": acts.in, "=": acts.in, "-": acts.out, 0: acts.all, l: acts.lasso, v: acts.view,
    Escape: acts.none,
    ArrowLeft: () => plot.move(60, 0), ArrowRight: () => plot.move(-60, 0),
    ArrowUp: () => plot.move(0, 60), ArrowDown: () => plot.move(0, -60),
  };
  points.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  more.addEventListener("click", () => showMore(plot));
  new ResizeObserver(() => { plot.measure(); plot.draw(); }).observe(points);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot.draw());
  document.querySelector("#map-mask")?.addEventListener("submit", (event) => {
    event.preventDefault();
    keepMask(plot, new FormData(event.target).get("mask"));
  });
  const form = document.querySelector("#map-annotate");
  if (!form) return;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    annotate(plot, form.elements.value.value.trim(), form.elements.by.value.trim());
  });
}

let hovers = 0;

function hover(plot, here) {
  if (hovers) return;
  hovers = requestAnimationFrame(() => {
    hovers = 0;
    const found = plot.findNearest(...here);
    tip.hidden = found < 0;
    if (found >= 0) tip.textContent = plot.names.get(plot.codes[found]);
  });
}

// A bit for each row of the store.
function writeChosen(plot) {
  const rows = plot.picked.map((one) => plot.rows[one]);
  const bits = new Uint8Array((rows.reduce((most, row) => Math.max(most, row), 0) >> 3) + 1);
  for (const row of rows) bits[row >> 3] |= 1 << (row & 7);
  return bits;
}

async function send(path, fields, body) {
  const token = document.querySelector('meta[name="csrf-token"]').content;
  const answer = await fetch(`${path}?${new URLSearchParams(fields)}`, {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream", "X-CSRF-Token": token },
    body,
  });
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(found.detail || `the server answered ${answer.status}`);
  return found;
}

// What was just done, and a button that takes it back.
function tell(place, text, undo) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Take it back";
  button.addEventListener("click", async () => {
    button.disabled = true;
    try { place.textContent = await undo(); } catch (error) {
      place.replaceChildren(`It was not taken back: ${error.message} `, button);
      button.disabled = false;
    }
  });
  place.replaceChildren(`${text} `, button);
}

// Ids as bytes: sixteen for each.
function writeIds(ids) {
  const bytes = new Uint8Array(16 * ids.length);
  ids.forEach((id, i) => {
    for (let k = 0; k < 16; k += 1) bytes[16 * i + k] = parseInt(id.slice(2 * k, 2 * k + 2), 16);
  });
  return bytes;
}

async function annotate(plot, value, by) {
  const done = document.querySelector("#map-done");
  try {
    const fields = { level: root.dataset.target, value, by };
    const { said: text, ids } = await send("/map/annotations", fields, writeChosen(plot));
    tell(done, text.join(" "), async () => {
      const told = [];
      for (let at = 0; at < ids.length; at += MOST_IDS) {
        const part = writeIds(ids.slice(at, at + MOST_IDS));
        told.push(...(await send("/map/annotations/retracted", { by }, part)).said);
      }
      return told.join(" ");
    });
  } catch (error) { done.textContent = `Nothing was said of them: ${error.message}`; }
}

async function keepMask(plot, name) {
  const kept = document.querySelector("#map-kept");
  let found;
  try { found = await send("/map/masks", { name }, writeChosen(plot)); } catch (error) {
    kept.textContent = `They were not kept: ${error.message}`;
    return;
  }
  tell(kept, found.said.join(" "), async () =>
    (await send("/map/masks/removed", { name })).said.join(" "));
  for (const [text, path] of [["Browse", "/browse"], ["Review", "/review"]]) {
    const link = document.createElement("a");
    const level = path === "/browse" ? {} : { level: root.dataset.target };
    link.href = `${path}?${new URLSearchParams({ mask: name, ...level })}`;
    link.textContent = `${text} them`;
    kept.append(" ", link);
  }
}

async function start() {
  const [data, classes] = await Promise.all([fetchData("/map/points"), fetchData("/map/classes")]);
  const [places, of] = [scalePoints(data), readClasses(classes)];
  if (places.n !== of.codes.length) throw new Error("it has just changed; load the page again");
  const plot = new Plot(places, of);
  showLegend(plot);
  listen(plot);
  plot.restore();
  root.dataset.ready = "yes";
  // Whoever measures how long a frame takes asks for one here.
  root.plot = plot;
}

start().catch((error) => { said.textContent = `The map cannot be shown: ${error.message}`; });
