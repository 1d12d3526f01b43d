// Points on a canvas, each written as pixels into one array: a hundred thousand take a few
// milliseconds on any machine, with a graphics processor or without, and all of them are drawn.

// Colours that colour-blind people tell apart (Okabe and Ito 2008), each in three shapes.
const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#0072b2", "#f0e442"];
const OTHERS = 254, UNKNOWN = 255;
const GREYS = { [OTHERS]: "#8a8f8c", [UNKNOWN]: "#b9bdba" };
const PALETTE = [...COLOURS, GREYS[OTHERS], GREYS[UNKNOWN]];
// What is not meant stays to be seen, faintly.
const FAINT = 0.16;
// Of a pixel so many parts across are looked at, so that edges are smooth.
const PARTS = 4;

const findLook = (code) => (code >= OTHERS
  ? { colour: COLOURS.length + code - OTHERS, shape: 0 }
  : { colour: code % COLOURS.length, shape: Math.floor(code / COLOURS.length) });

const toNumbers = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

// In device pixels: small where there are many, larger as one comes nearer.
function findSize(n, zoom, ratio) {
  const whole = Math.min(7, Math.max(2.2, 260 / Math.sqrt(n)));
  return ratio * Math.min(12, whole * Math.max(1, zoom) ** 0.4);
}

// How far out of a shape a place is: above 1 it is outside. From -1 to 1, down is positive.
const OUTSIDE = [
  (x, y) => Math.hypot(x, y),
  (x, y) => Math.max(Math.abs(x), Math.abs(y)) * 1.15,
  (x, y) => Math.max(y * 1.1, Math.abs(x) + 1 - (y + 1) * 0.5),
];

// The pixels of a point: where each is from the middle, and what is written there.
function makeStamp(code, size, width) {
  const look = findLook(code);
  const own = size * (code >= OTHERS ? 0.8 : look.shape ? 1.15 : 1);
  const half = own / 2, edge = own > 6 ? 1 - 2.4 / own : 2;
  const reach = Math.ceil(half), colour = toNumbers(PALETTE[look.colour]);
  const places = [], values = [];
  for (let row = -reach; row <= reach; row += 1) {
    for (let column = -reach; column <= reach; column += 1) {
      let inside = 0, dark = 0;
      for (let i = 0; i < PARTS * PARTS; i += 1) {
        const x = (column + ((i % PARTS) + 0.5) / PARTS - 0.5) / half;
        const y = (row + (Math.floor(i / PARTS) + 0.5) / PARTS - 0.5) / half;
        const out = OUTSIDE[look.shape](x, y);
        if (out <= 1) inside += 1;
        if (out <= 1 && out > edge) dark += 1;
      }
      if (!inside) continue;
      const shade = 1 - 0.55 * (dark / inside);
      const [red, green, blue] = colour.map((one) => Math.round(one * shade));
      const alpha = Math.round((255 * inside) / (PARTS * PARTS));
      places.push(row * width + column);
      values.push(((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0);
    }
  }
  const faint = values.map((one) => (((Math.round((one >>> 24) * FAINT) << 24) | (one & 0xffffff)) >>> 0));
  return {
    places: Int32Array.from(places), values: Uint32Array.from(values), faint: Uint32Array.from(faint),
  };
}

// An order in which every part is a fair sample, so that the last class does not cover all others; it
// is the same each time.
export function mix(n) {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  let state = 1;
  for (let i = n - 1; i > 0; i -= 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

export class Drawing {
  // data: n, at (x and y of each), codes, and chosen (1 of those that are).
  constructor(canvas, data) {
    Object.assign(this, { canvas, data, pen: canvas.getContext("2d", { willReadFrequently: true }) });
    this.made = "";
  }

  // Room for the pixels, with a rim as wide as a point: what lies on the edge needs no care.
  prepare(width, height, size) {
    const made = `${width} ${height} ${size}`;
    if (made === this.made) return;
    this.made = made;
    this.rim = Math.ceil(size) + 2;
    this.wide = width + 2 * this.rim;
    this.image = new ImageData(this.wide, height + 2 * this.rim);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.stamps = new Map();
    Object.assign(this.canvas, { width, height });
  }

  find(code, size) {
    let stamp = this.stamps.get(code);
    if (!stamp) this.stamps.set(code, stamp = makeStamp(code, size, this.wide));
    return stamp;
  }

  draw(view) {
    const { data, pen } = this;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(view.width * ratio));
    const height = Math.max(1, Math.round(view.height * ratio));
    this.prepare(width, height, findSize(data.n, view.zoom, ratio));
    const { rim, wide, pixels } = this;
    pixels.fill(0);
    const isPart = view.alone >= 0 || view.isAny;
    for (const isFront of isPart ? [false, true] : [true]) this.write(view, ratio, width, height, isFront);
    pen.putImageData(this.image, -rim, -rim, rim, rim, wide - 2 * rim, height);
  }

  // Write the points that are meant, or those that are not.
  write(view, ratio, width, height, isFront) {
    const { rim, wide, pixels } = this;
    const { n, at, codes, chosen } = this.data;
    const { alone, isAny } = view;
    const scale = ratio * view.unit * view.zoom;
    const size = findSize(n, view.zoom, ratio), half = size / 2;
    const left = width / 2 - view.x * scale, top = height / 2 + view.y * scale;
    const stamps = Array.from({ length: 256 }, () => null);
    for (let i = 0; i < n; i += 1) {
      const x = left + at[2 * i] * scale, y = top - at[2 * i + 1] * scale;
      if (!(x > -half && y > -half && x < width + half && y < height + half)) continue;
      const code = codes[i];
      const isMeant = (alone < 0 || code === alone) && (!isAny || chosen[i] === 1);
      if (isMeant !== isFront) continue;
      const stamp = stamps[code] ??= this.find(code, size);
      const { places } = stamp, values = isFront ? stamp.values : stamp.faint;
      const middle = (Math.round(y) + rim) * wide + Math.round(x) + rim;
      for (let k = 0; k < places.length; k += 1) {
        const to = middle + places[k], value = values[k];
        // A smooth edge takes nothing away from what lies below it.
        if (value >= 0xff000000 || (pixels[to] >>> 24) <= (value >>> 24)) pixels[to] = value;
      }
    }
  }
}

export function makeSwatch(code) {
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
