// The first lines are all that a storefront needs; the rest is the demo's members and mailbox.

const dialog = document.querySelector("audience-export");
dialog.getToken = async () => (await (await fetch("demo/token")).json()).token;
dialog.addEventListener("export-finished", () => showMails());

const POLL_MS = 2000;
const [empty, list, frame] = ["empty", "mails", "mail"].map((id) => document.getElementById(id));
let newestShown = "";

function open(id) {
  for (const button of list.querySelectorAll("button")) {
    button.ariaCurrent = String(button.dataset.id === id);
  }
  frame.src = `demo/mails/${id}`;
  frame.hidden = false;
}

function row({ id, subject, date }) {
  const button = document.createElement("button");
  button.dataset.id = id;
  const time = document.createElement("time");
  time.dateTime = date;
  time.textContent = new Date(date).toLocaleTimeString(undefined, { timeStyle: "medium" });
  button.append(subject, time);
  button.addEventListener("click", () => open(id));
  const item = document.createElement("li");
  item.append(button);
  return item;
}

async function showMails() {
  const { items } = await (await fetch("demo/mails")).json();
  const newest = items[0]?.id ?? "";
  if (newest === newestShown) return;
  newestShown = newest;
  list.replaceChildren(...items.map(row));
  list.hidden = !items.length;
  empty.hidden = Boolean(items.length);
  open(newest);
}

async function showMembers() {
  const { total, items } = await (await fetch("demo/members")).json();
  document.getElementById("total").textContent =
    `${total.toLocaleString("en")} in all: followers, customers and affiliates`;
  const rows = items.map(({ email, since, sources }) => {
    const day = new Date(since).toLocaleDateString("en-GB", { dateStyle: "medium", timeZone: "UTC" });
    const row = document.createElement("tr");
    for (const text of [email, day, sources.join(", ")]) row.insertCell().textContent = text;
    return row;
  });
  document.getElementById("members").replaceChildren(...rows);
}

async function watch() {
  if (!document.hidden) await showMails().catch(() => {});
  setTimeout(watch, POLL_MS);
}

showMembers();
watch();
