// What every page has: writes carry the token of the page, and keys move about.
const token = document.querySelector('meta[name="csrf-token"]')?.content;
document.addEventListener("htmx:config:request", (event) => {
  if (token) event.detail.ctx.request.headers["X-CSRF-Token"] = token;
});

// An installed page opens without a connection, to take pictures that are sent later.
if ("serviceWorker" in navigator) navigator.serviceWorker.register("/sw.js").catch(() => {});

const OFF = "bioprobe.keys-off";
const read = () => { try { return localStorage.getItem(OFF) === "yes"; } catch { return false; } };
const box = document.querySelector("#keys-off");
if (box) {
  box.checked = read();
  box.addEventListener("change", () => {
    try { localStorage.setItem(OFF, box.checked ? "yes" : "no"); } catch { /* it counts for this page */ }
  });
}

// Who one is, is asked once in this browser; what one said oneself can be taken back.
const PERSON = "bioprobe.person";
let person = "";
try { person = localStorage.getItem(PERSON) ?? ""; } catch { /* it is asked each time */ }
for (const form of document.querySelectorAll("form[data-person]")) {
  const field = form.elements.by;
  field.value ||= person;
  form.addEventListener("submit", () => {
    try { localStorage.setItem(PERSON, field.value.trim()); } catch { /* it is asked again */ }
  });
}
for (const form of document.querySelectorAll("form[data-own]")) form.hidden = form.dataset.own !== person;

const isTyping = (one) => one.closest?.("input, select, textarea, [contenteditable]");

function move(from, key) {
  const links = [...document.querySelectorAll("[data-keys] a")];
  if (!links.length) return false;
  const at = links.indexOf(from.closest?.("[data-keys] a"));
  if (at < 0) { links[0].focus(); return true; }
  const { left, top } = links[at].getBoundingClientRect();
  let to = { ArrowRight: at + 1, ArrowLeft: at - 1 }[key];
  if (to === undefined) {
    const down = key === "ArrowDown";
    const order = down ? links.slice(at + 1) : links.slice(0, at).reverse();
    const next = order.find((one) => {
      const place = one.getBoundingClientRect();
      return Math.abs(place.left - left) < 4 && (down ? place.top > top : place.top < top);
    });
    to = next ? links.indexOf(next) : -1;
  }
  if (!links[to]) return false;
  links[to].focus();
  return true;
}

const go = (rel) => {
  const link = document.querySelector(`main a[rel="${rel}"]`);
  link?.click();
  return Boolean(link);
};

export function zoom() {
  const stage = document.querySelector("[data-zoom]");
  if (!stage) return false;
  const isIn = stage.classList.toggle("zoomed");
  for (const one of document.querySelectorAll("[data-zooms]")) {
    one.setAttribute("aria-pressed", String(isIn));
    one.textContent = isIn ? "Zoom out" : "Zoom in";
  }
  return true;
}

for (const one of document.querySelectorAll("[data-zooms]")) {
  one.hidden = false;
  one.addEventListener("click", zoom);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const { key } = event;
  let done = false;
  if (key.startsWith("Arrow")) {
    const zoomed = document.activeElement?.matches?.("[data-zoom].zoomed");
    // On its own a page scrolls up and down.
    const inGrid = document.activeElement?.closest?.("[data-keys]");
    if (!zoomed && (inGrid || key === "ArrowRight")) done = move(document.activeElement, key);
  } else if (box?.checked) {
    return;
  } else if (key === "[") done = go("prev");
  else if (key === "]") done = go("next");
  else if (key === "u") done = go("up");
  else if (key === "z") done = zoom();
  else if (key === "/") {
    const field = document.querySelector('main input[type="search"], main input[type="text"]');
    field?.focus();
    done = Boolean(field);
  } else if (key === "?") {
    const help = document.querySelector("#keys");
    if (help) { help.open = !help.open; help.querySelector("summary").focus(); done = true; }
  }
  if (done) event.preventDefault();
});
