// Without a connection pictures are taken all the same; they go where Ask sends them later.
import * as waiting from "./waiting.js";

const said = document.querySelector("#waiting");
const queue = document.querySelector("#queue");

async function show() {
  const { length } = await waiting.show(queue);
  said.textContent = length ? `${length} picture${length === 1 ? " waits" : "s wait"}.` : "";
}

for (const input of document.querySelectorAll('input[type="file"]')) {
  input.addEventListener("change", async () => {
    await waiting.keep(input.files);
    input.value = "";
    await show();
  });
}

await show();
// Ask sends what waits.
waiting.whenBack(async () => {
  const answer = await fetch("/api/v1/session", { cache: "no-store" }).catch(() => null);
  if (answer?.ok) location.assign("/ask");
});
