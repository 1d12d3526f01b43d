// Pictures wait in this browser until the server has them: each is sent once, and known by its bytes
// from then on. What was sent last is kept here to be shown beside its answer; the server keeps no
// picture.
const MOST_SENT = 40;
// How long it is waited before it is tried again: at first, and at most.
const FIRST_MS = 500;
const RETRY_MS = 15000;

let opened;
function open() {
  opened ??= new Promise((resolve, reject) => {
    const asked = indexedDB.open("bioprobe", 1);
    asked.onupgradeneeded = () => {
      asked.result.createObjectStore("waiting", { keyPath: "key" });
      asked.result.createObjectStore("sent", { keyPath: "id" }).createIndex("at", "at");
    };
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
  return opened;
}

async function run(stores, mode, work) {
  const base = await open();
  return new Promise((resolve, reject) => {
    const turn = base.transaction(stores, mode);
    const result = work(turn);
    turn.oncomplete = () => resolve(result?.result);
    turn.onerror = turn.onabort = () => reject(turn.error);
  });
}

// By its bytes, so that one that is chosen twice waits once; where a browser counts them only over
// https, by chance.
async function name(file) {
  const numbers = crypto.subtle
    ? new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()))
    : crypto.getRandomValues(new Uint8Array(32));
  return [...numbers].map((one) => one.toString(16).padStart(2, "0")).join("");
}

// Keep pictures until they are sent; they are on the disk when this returns.
export async function keep(files) {
  const at = Date.now(), pictures = [...files];
  const keys = await Promise.all(pictures.map(name));
  await run("waiting", "readwrite", (turn) => {
    pictures.forEach((file, place) => {
      turn.objectStore("waiting").put({
        key: keys[place], name: file.name || "photo.jpg", blob: file, at: at + place,
      });
    });
  });
}

export async function list() {
  const found = await run("waiting", "readonly", (turn) => turn.objectStore("waiting").getAll());
  return found.sort((one, other) => one.at - other.at);
}

export const remove = (key) =>
  run("waiting", "readwrite", (turn) => { turn.objectStore("waiting").delete(key); });

export const find = (id) => run("sent", "readonly", (turn) => turn.objectStore("sent").get(id));

export async function listSent() {
  const found = await run("sent", "readonly", (turn) => turn.objectStore("sent").getAll());
  return found.sort((one, other) => other.at - one.at);
}

async function settle(one, id) {
  await run(["waiting", "sent"], "readwrite", (turn) => {
    const sent = turn.objectStore("sent");
    sent.put({ id, name: one.name, blob: one.blob, at: Date.now() });
    turn.objectStore("waiting").delete(one.key);
    const keys = sent.index("at").getAllKeys();
    keys.onsuccess = () => keys.result.slice(0, -MOST_SENT).forEach((old) => sent.delete(old));
  });
}

// What came of sending: ids of those that the server has, and what it said of others.
async function sendEach() {
  const ids = [], problems = [];
  const waiting = (await list()).filter((one) => !one.problem);
  if (!waiting.length) return { ids, problems, left: 0 };
  const session = await fetch("/api/v1/session", { cache: "no-store" });
  if (session.status === 401 || session.redirected) throw new Error("enter");
  if (!session.ok) throw new Error(`the server says ${session.status}`);
  const { csrf } = await session.json();
  for (const one of waiting) {
    const body = new FormData();
    body.append("files", one.blob, one.name);
    const answer = await fetch("/api/v1/pictures", { method: "POST", body, headers: { "X-CSRF-Token": csrf } });
    if (answer.ok) {
      const [picture] = (await answer.json()).pictures;
      await settle(one, picture.id);
      ids.push(picture.id);
    } else if (answer.status === 413 || answer.status === 422) {
      // It is never taken: it stays here, with what was said, until it is taken away.
      const said = (await answer.json().catch(() => ({}))).detail ?? "it cannot be read";
      await run("waiting", "readwrite", (turn) => { turn.objectStore("waiting").put({ ...one, problem: said }); });
      problems.push({ name: one.name, said });
    } else {
      throw new Error(`the server says ${answer.status}`);
    }
  }
  return { ids, problems, left: 0 };
}

let sending;
// Send what waits, one after the other; several pages of this browser take turns.
export function send() {
  sending ??= (navigator.locks ? navigator.locks.request("bioprobe-sending", sendEach) : sendEach())
    .finally(() => { sending = undefined; });
  return sending;
}

// Try again when the connection is back, soon after it, as it may not carry yet, and every so often.
export function whenBack(work) {
  let waits = FIRST_MS, timer;
  const later = () => {
    timer = setTimeout(() => {
      if (navigator.onLine) work();
      waits = Math.min(waits * 2, RETRY_MS);
      later();
    }, waits);
  };
  addEventListener("online", () => {
    clearTimeout(timer);
    waits = FIRST_MS;
    work();
    later();
  });
  later();
}

export async function show(queue) {
  const waiting = await list();
  for (const one of queue.querySelectorAll("img")) URL.revokeObjectURL(one.src);
  queue.replaceChildren(...waiting.map((one) => {
    const item = document.createElement("li");
    const picture = document.createElement("img");
    picture.src = URL.createObjectURL(one.blob);
    picture.alt = "";
    const said = document.createElement("span");
    said.textContent = one.problem ? `${one.name}: ${one.problem}` : one.name;
    const away = document.createElement("button");
    away.type = "button";
    away.className = "second";
    away.textContent = "Take away";
    away.setAttribute("aria-label", `Take away ${one.name}`);
    away.addEventListener("click", async () => { await remove(one.key); await show(queue); });
    item.append(picture, said, away);
    return item;
  }));
  return waiting;
}
