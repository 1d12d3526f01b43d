// Ask: pictures are chosen, dropped or taken, sent, and asked about by their ids.
import * as waiting from "./waiting.js";

const form = document.querySelector("#ask");
const drop = document.querySelector("#drop");
const said = document.querySelector("#waiting");
const queue = document.querySelector("#queue");
drop.hidden = false;

function go(ids) {
  const asked = new URLSearchParams(new FormData(form));
  for (const [key, value] of [...asked]) if (value === "") asked.delete(key, value);
  for (const id of ids) if (!asked.getAll("picture").includes(id)) asked.append("picture", id);
  location.assign(`/ask?${asked}`);
}

const count = (n) => `${n} picture${n === 1 ? "" : "s"}`;

async function send({ goes }) {
  const before = (await waiting.show(queue)).filter((one) => !one.problem);
  if (!before.length) return;
  said.textContent = `Sending ${count(before.length)} …`;
  try {
    const { ids, problems } = await waiting.send();
    await waiting.show(queue);
    said.textContent = problems.length ? "" : `Sent ${count(ids.length)}.`;
    if (ids.length && goes) go(ids);
    else if (ids.length) {
      const link = document.createElement("a");
      link.href = `/ask?${new URLSearchParams(ids.map((id) => ["picture", id]))}`;
      link.textContent = "See what they are";
      said.append(" ", link);
    }
  } catch (error) {
    if (error.message === "enter") { location.assign(`/enter?next=${encodeURIComponent(location.pathname + location.search)}`); return; }
    const left = (await waiting.show(queue)).filter((one) => !one.problem).length;
    said.textContent = navigator.onLine && !(error instanceof TypeError)
      ? `${count(left)} wait: ${error.message}.`
      : `No connection: ${count(left)} wait${left === 1 ? "s" : ""} in this browser, and will be sent when it is back.`;
  }
}

async function take(files) {
  const pictures = [...files].filter((one) => !one.type || one.type.startsWith("image/"));
  if (!pictures.length) { said.textContent = "No picture among these."; return; }
  await waiting.keep(pictures);
  await send({ goes: true });
}

for (const input of form.querySelectorAll('input[type="file"]')) {
  input.addEventListener("change", async () => { await take(input.files); input.value = ""; });
}
form.addEventListener("submit", (event) => { event.preventDefault(); go([]); });

let depth = 0;
addEventListener("dragenter", (event) => {
  if (![...event.dataTransfer.types].includes("Files")) return;
  depth += 1; drop.classList.add("over");
});
addEventListener("dragleave", () => { depth = Math.max(0, depth - 1); if (!depth) drop.classList.remove("over"); });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault(); depth = 0; drop.classList.remove("over");
  take(event.dataTransfer.files);
});
addEventListener("paste", (event) => {
  if (event.clipboardData?.files.length) take(event.clipboardData.files);
});

// What was sent is shown from this browser: the server keeps no picture.
for (const image of document.querySelectorAll("img[data-sent]")) {
  waiting.find(image.dataset.sent).then((one) => {
    if (!one) return;
    image.src = URL.createObjectURL(one.blob);
    image.hidden = false;
    image.parentElement.querySelector("[data-no-preview]")?.remove();
  });
}

// The server may have forgotten what this browser still has: it is sent again, once.
const missing = document.querySelector("#missing");
if (missing) {
  const kept = await Promise.all(missing.dataset.ids.split(" ").map(waiting.find));
  const mark = `bioprobe.again.${location.search}`;
  if (kept.every(Boolean) && !sessionStorage.getItem(mark)) {
    sessionStorage.setItem(mark, "yes");
    await waiting.keep(kept.map((one) => new File([one.blob], one.name, { type: one.blob.type })));
    await waiting.send();
    location.reload();
  }
}

await send({ goes: false });
waiting.whenBack(() => send({ goes: false }));
