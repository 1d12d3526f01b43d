// The review: keys and swipes press the buttons that are there, names are completed as one types.
const work = () => document.querySelector("#work");
const isTyping = (one) => Boolean(one?.closest?.("input:not([type=checkbox]), select, textarea"));
const hasKeys = () => !document.querySelector("#keys-off")?.checked;

let isWaiting = false;
function press(button) {
  if (!button || button.disabled || isWaiting) return false;
  button.click();
  return true;
}

function find(key) {
  return [...(work()?.querySelectorAll("[data-key]") ?? [])].find(
    (one) => one.dataset.key.split(" ").includes(key),
  );
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.repeat) return;
  const { key, target } = event;
  if (isTyping(target)) {
    if (key === "Enter" && target.name === "typed") {
      event.preventDefault();
      if (target.value.trim()) press(work().querySelector("[data-typed]"));
    }
    return;
  }
  const single = key.length === 1;
  if (single && !hasKeys()) return;
  // What has the focus is pressed by Enter itself.
  if (key === "Enter" && target.closest?.("button, a, summary, input")) return;
  if (press(find(single ? key.toLowerCase() : key))) event.preventDefault();
});

// A swipe is a quick move of one finger to the side; a zoomed picture is moved about instead.
let start = null;
const FAR = 70;
const aside = (event) => {
  const dx = event.clientX - start.x, dy = event.clientY - start.y;
  return Math.abs(dx) > FAR && Math.abs(dx) > 2 * Math.abs(dy) ? (dx > 0 ? "right" : "left") : "";
};
const mark = (stage, way) => {
  stage.classList.toggle("to-right", way === "right");
  stage.classList.toggle("to-left", way === "left");
};
document.addEventListener("pointerdown", (event) => {
  const stage = event.target.closest?.("[data-swipe]:not(.zoomed)");
  start = stage && event.isPrimary && event.pointerType !== "mouse"
    ? { stage, x: event.clientX, y: event.clientY } : null;
});
document.addEventListener("pointermove", (event) => { if (start && event.isPrimary) mark(start.stage, aside(event)); });
document.addEventListener("pointercancel", () => { if (start) mark(start.stage, ""); start = null; });
document.addEventListener("pointerup", (event) => {
  if (!start || !event.isPrimary) return;
  const way = aside(event);
  mark(start.stage, "");
  start = null;
  if (way) press(work().querySelector(`[data-go="${way}"]`));
});

let asked = 0;
document.addEventListener("input", async (event) => {
  const field = event.target.closest?.('input[name="typed"]');
  if (!field) return;
  const mine = ++asked;
  const list = field.list, text = field.value.trim();
  if (!text) { list.replaceChildren(); return; }
  const answer = await fetch(`${field.form.dataset.review}&start=${encodeURIComponent(text)}`);
  if (!answer.ok || mine !== asked) return;
  const { classes } = await answer.json();
  list.replaceChildren(...classes.map((name) => Object.assign(document.createElement("option"), { value: name })));
});

let isOpen = false;
document.addEventListener("htmx:before:request", () => {
  isWaiting = true;
  work()?.classList.add("waiting");
  isOpen = Boolean(work()?.querySelector(".good")?.open);
});
const end = () => {
  isWaiting = false;
  work()?.classList.remove("waiting");
};
document.addEventListener("htmx:error", end);
document.addEventListener("htmx:after:swap", () => {
  end();
  const good = work()?.querySelector(".good");
  if (good) good.open = isOpen;
  const next = work()?.querySelector("[data-focus]");
  next?.focus({ preventScroll: true });
  // Who typed a name had moved down to the field.
  next?.scrollIntoView({ block: "nearest" });
});
document.addEventListener("htmx:finally:request", end);
