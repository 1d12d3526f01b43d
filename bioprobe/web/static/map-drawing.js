// Points on a canvas: all of them by WebGL; without it a sample on a plain canvas.
// No library: those that draw points by WebGL make functions from texts, which no page here may.

// Colours that colour-blind people tell apart (Okabe and Ito 2008), each in three shapes.
const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#0072b2", "#f0e442"];
const OTHERS = 254, UNKNOWN = 255;
const GREYS = { [OTHERS]: "#8a8f8c", [UNKNOWN]: "#b9bdba" };
const MOST_ON_CANVAS = 20000;
// While it moves fewer points are drawn where a frame takes longer than this, never fewer than that.
const SLOW_MS = 45, QUICK_MS = 25, FEWEST_MOVING = 8000;
const PALETTE = [...COLOURS, GREYS[OTHERS], GREYS[UNKNOWN]];

const findLook = (code) => (code >= OTHERS
  ? { colour: COLOURS.length + code - OTHERS, shape: 0 }
  : { colour: code % COLOURS.length, shape: Math.floor(code / COLOURS.length) });

const VERTEX = `
attribute vec2 at;
attribute float code;
attribute float chosen;
uniform vec2 middle;
uniform vec2 scale;
uniform float size;
uniform float alone;
uniform float isAny;
uniform float isFront;
uniform vec3 palette[${PALETTE.length}];
varying vec3 colour;
varying float shape;
varying float edge;
void main() {
  bool isShown = (alone < 0.0 || abs(code - alone) < 0.5) && (isAny < 0.5 || chosen > 0.5);
  bool isHere = isShown == (isFront > 0.5);
  gl_Position = isHere ? vec4((at - middle) * scale, 0.0, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
  bool isClass = code < ${OTHERS}.0 - 0.5;
  float place = isClass ? mod(code, ${COLOURS.length}.0) : ${COLOURS.length}.0 + code - ${OTHERS}.0;
  shape = isClass ? floor((code + 0.5) / ${COLOURS.length}.0) : 0.0;
  colour = palette[int(place + 0.5)];
  float own = size * (isClass ? 1.0 : 0.8) * (shape > 0.5 ? 1.15 : 1.0);
  gl_PointSize = own;
  edge = own > 6.0 ? 1.0 - 2.4 / own : 2.0;
}`;

const FRAGMENT = `
precision mediump float;
varying vec3 colour;
varying float shape;
varying float edge;
uniform float alpha;
void main() {
  vec2 at = gl_PointCoord * 2.0 - 1.0;
  float far = length(at);
  if (shape > 1.5) far = max(at.y * 1.1, abs(at.x) + 1.0 - (at.y + 1.0) * 0.5);
  else if (shape > 0.5) far = max(abs(at.x), abs(at.y)) * 1.15;
  if (far > 1.0) discard;
  vec3 seen = far > edge ? colour * 0.45 : colour;
  gl_FragColor = vec4(seen * alpha, alpha);
}`;

function build(gl, kind, text) {
  const shader = gl.createShader(kind);
  gl.shaderSource(shader, text);
  gl.compileShader(shader);
  return shader;
}

const toNumbers = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255);

// In device pixels: small where there are many, larger as one comes nearer.
function findSize(n, zoom, ratio) {
  const whole = Math.min(7, Math.max(2.2, 260 / Math.sqrt(n)));
  return ratio * Math.min(12, whole * Math.max(1, zoom) ** 0.4);
}

// An order in which every part is a fair sample, and the last class does not cover all others; it is
// the same each time.
function mix(n) {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  let state = 1;
  for (let i = n - 1; i > 0; i -= 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

class WebglDrawing {
  constructor(canvas, gl, data) {
    Object.assign(this, { canvas, gl, data, kind: "webgl", said: "" });
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => { this.prepare(); this.draw(this.last); });
    this.prepare();
  }

  prepare() {
    const { gl } = this;
    const program = gl.createProgram();
    gl.attachShader(program, build(gl, gl.VERTEX_SHADER, VERTEX));
    gl.attachShader(program, build(gl, gl.FRAGMENT_SHADER, FRAGMENT));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
      throw new Error(`WebGL: ${gl.getProgramInfoLog(program)}`);
    }
    gl.useProgram(program);
    const { n, at, codes } = this.data;
    this.order = mix(n);
    this.most = n;
    const mixed = new Float32Array(2 * n);
    this.order.forEach((one, i) => { mixed[2 * i] = at[2 * one]; mixed[2 * i + 1] = at[2 * one + 1]; });
    this.send(program, "at", mixed, 2, gl.FLOAT);
    this.send(program, "code", this.order.map((one) => codes[one]), 1, gl.UNSIGNED_BYTE);
    this.buffer = this.send(program, "chosen", this.mixChosen(), 1, gl.UNSIGNED_BYTE);
    this.places = {};
    for (const one of ["middle", "scale", "size", "alone", "isAny", "isFront", "alpha", "palette"]) {
      this.places[one] = gl.getUniformLocation(program, one);
    }
    gl.uniform3fv(this.places.palette, PALETTE.flatMap(toNumbers));
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  send(program, name, values, width, kind) {
    const { gl } = this;
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, kind === gl.FLOAT ? values : Uint8Array.from(values), gl.STATIC_DRAW);
    const place = gl.getAttribLocation(program, name);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, width, kind, false, 0, 0);
    return buffer;
  }

  renew() {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    gl.bufferData(gl.ARRAY_BUFFER, this.mixChosen(), gl.STATIC_DRAW);
  }

  mixChosen() { return Uint8Array.from(this.order, (one) => this.data.chosen[one]); }

  // How many are drawn: all at rest, and while it moves as many as go quickly.
  count(isMoving) {
    const { n } = this.data;
    const now = performance.now();
    const took = this.drawnAt ? now - this.drawnAt : 0;
    this.drawnAt = isMoving ? now : 0;
    if (!isMoving) return n;
    if (!took) return Math.floor(this.most);
    if (took > SLOW_MS) this.most *= 0.75;
    else if (took < QUICK_MS) this.most *= 1.15;
    this.most = Math.min(n, Math.max(Math.min(n, FEWEST_MOVING), this.most));
    return Math.floor(this.most);
  }

  draw(view) {
    const { gl, canvas, places, data } = this;
    this.last = view;
    if (!view || gl.isContextLost()) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(view.width * ratio));
    const height = Math.max(1, Math.round(view.height * ratio));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const scale = 2 * view.unit * view.zoom;
    gl.uniform2f(places.middle, view.x, view.y);
    gl.uniform2f(places.scale, scale / view.width, scale / view.height);
    gl.uniform1f(places.size, findSize(data.n, view.zoom, ratio));
    gl.uniform1f(places.alone, view.alone);
    gl.uniform1f(places.isAny, view.isAny ? 1 : 0);
    const isPart = view.alone >= 0 || view.isAny;
    const n = this.count(view.isMoving);
    for (const isFront of isPart ? [0, 1] : [1]) {
      gl.uniform1f(places.isFront, isFront);
      gl.uniform1f(places.alpha, isFront ? 0.9 : 0.12);
      gl.drawArrays(gl.POINTS, 0, n);
    }
  }

  makeSwatch(code) { return makeSwatch(code); }
}

class CanvasDrawing {
  constructor(canvas, data) {
    Object.assign(this, { canvas, data, kind: "canvas", pen: canvas.getContext("2d") });
    const step = Math.max(1, data.n / MOST_ON_CANVAS);
    this.sample = [];
    for (let i = 0; i < data.n; i += step) this.sample.push(Math.floor(i));
    // One colour after the other: changing it takes longer than a point.
    this.sample.sort((one, other) => data.codes[other] - data.codes[one]);
    this.said = "This browser draws without WebGL";
    if (step > 1) {
      this.said += `: ${this.sample.length.toLocaleString("en")} of the pictures are drawn, all count`;
    }
    this.said += ".";
  }

  renew() {}

  draw(view) {
    const { canvas, pen, data } = this;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(view.width * ratio));
    const height = Math.max(1, Math.round(view.height * ratio));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    pen.clearRect(0, 0, width, height);
    const scale = ratio * view.unit * view.zoom;
    const size = findSize(this.sample.length, view.zoom, ratio);
    const isPart = view.alone >= 0 || view.isAny;
    for (const isFront of isPart ? [false, true] : [true]) {
      pen.globalAlpha = isFront ? 0.9 : 0.12;
      let last = -1;
      for (const one of this.sample) {
        const code = data.codes[one];
        const isShown = (view.alone < 0 || code === view.alone)
          && (!view.isAny || data.chosen[one] === 1);
        if (isShown !== isFront) continue;
        const left = width / 2 + (data.at[2 * one] - view.x) * scale;
        const top = height / 2 - (data.at[2 * one + 1] - view.y) * scale;
        if (left < -size || top < -size || left > width + size || top > height + size) continue;
        const look = findLook(code);
        if (code !== last) { pen.fillStyle = PALETTE[look.colour]; last = code; }
        drawShape(pen, look.shape, left, top, size / 2);
      }
    }
  }

  makeSwatch(code) { return makeSwatch(code); }
}

function drawShape(pen, shape, left, top, half) {
  if (shape === 1 || half < 1.5) {
    pen.fillRect(left - half, top - half, 2 * half, 2 * half);
    return;
  }
  pen.beginPath();
  if (shape === 2) {
    pen.moveTo(left, top - half);
    pen.lineTo(left + half, top + half);
    pen.lineTo(left - half, top + half);
  } else pen.arc(left, top, half, 0, 2 * Math.PI);
  pen.fill();
}

function makeSwatch(code) {
  const look = findLook(code);
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("viewBox", "0 0 16 16");
  picture.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", ["M8 2a6 6 0 1 0 .01 0z", "M3 3h10v10H3z", "M8 2l6 12H2z"][look.shape]);
  path.setAttribute("fill", PALETTE[look.colour]);
  picture.append(path);
  return picture;
}

export function makeDrawing(canvas, data) {
  const wanted = { antialias: false, premultipliedAlpha: true, preserveDrawingBuffer: false };
  const gl = canvas.getContext("webgl", wanted);
  return gl ? new WebglDrawing(canvas, gl, data) : new CanvasDrawing(canvas, data);
}
