/**
 * The export dialog as a custom element: <audience-export api="https://exports.example">.
 *
 * The page sets the property `getToken`; everything else is optional. See widget.d.ts.
 */

const RETRY_MS = [500, 1000, 2000, 4000, 8000, 15000];
const FIRST_BYTE_MS = 8000;
const SILENCE_MS = 40000;
const POLL_S = 5;
const LIST_MS = 3000;

const ACTIVE = ["queued", "running"];
const DEFAULT = ["follower"];

const MESSAGES = {
  en: {
    export: "Export",
    title: "Export audience",
    close: "Close",
    download: "Download",
    downloadFile: "Download file",
    retry: "Try again",
    stop: "Stop",
    erase: "Erase",
    keep: "Keep",
    follower: "Followers",
    customer: "Customers",
    affiliate: "Affiliates",
    people: { one: "{n} person", other: "{n} people" },
    upTo: "Up to {people}, each listed once",
    rows: { one: "{n} row", other: "{n} rows" },
    hint: "We will email you a link to the list. You may close this page meanwhile.",
    none: "Select at least one group.",
    sending: "Starting …",
    active: "Preparing the list. We will email a link to {email}; you may close this page.",
    stopping: "Stopping …",
    ready: "The list is ready. We email its link to {email} as well.",
    sorry: "The list could not be made.",
    lost: "The connection was lost; the list goes on without it. Connecting again …",
    unreachable: "The service cannot be reached just now.",
    forbidden: "You are not signed in, or may not do this. Please reload the page.",
    quota: "That is too many lists at once. Please try again {when}.",
    past: "Past lists",
    getIt: "Get the list of {date}",
    stopIt: "Stop the list of {date}",
    eraseIt: "Erase the list of {date}",
    eraseAsk: "Erase this file? Links to it end too.",
    queued: "Waiting",
    running: "In progress",
    failed: "Failed",
    cancelled: "Stopped",
    expired: "Expired",
    deleted: "Erased",
  },
  "zh-CN": {
    export: "导出",
    title: "导出受众",
    close: "关闭",
    download: "下载",
    downloadFile: "下载文件",
    retry: "重试",
    stop: "停止",
    erase: "删除",
    keep: "保留",
    follower: "关注者",
    customer: "客户",
    affiliate: "联盟伙伴",
    people: "{n} 人",
    upTo: "最多 {people}，每人只列一次",
    rows: "{n} 行",
    hint: "我们会把名单链接通过邮件发给您，您可以先关闭此页面。",
    none: "请至少选择一个群体。",
    sending: "正在开始…",
    active: "正在准备名单。链接将发送至 {email}，您可以关闭此页面。",
    stopping: "正在停止…",
    ready: "名单已就绪，链接也会发送至 {email}。",
    sorry: "名单生成失败。",
    lost: "连接已中断，名单仍在生成。正在重新连接…",
    unreachable: "暂时无法连接服务。",
    forbidden: "您尚未登录或没有权限，请刷新页面。",
    quota: "同时导出的名单太多，请{when}再试。",
    past: "历史名单",
    getIt: "获取 {date} 的名单",
    stopIt: "停止 {date} 的名单",
    eraseIt: "删除 {date} 的名单",
    eraseAsk: "删除此文件？其链接也将失效。",
    queued: "等待中",
    running: "进行中",
    failed: "失败",
    cancelled: "已停止",
    expired: "已过期",
    deleted: "已删除",
  },
  de: {
    export: "Exportieren",
    title: "Publikum exportieren",
    close: "Schließen",
    download: "Herunterladen",
    downloadFile: "Datei herunterladen",
    retry: "Erneut versuchen",
    stop: "Anhalten",
    erase: "Löschen",
    keep: "Behalten",
    follower: "Follower",
    customer: "Kunden",
    affiliate: "Partner",
    people: { one: "{n} Person", other: "{n} Personen" },
    upTo: "Bis zu {people}, jede nur einmal",
    rows: { one: "{n} Zeile", other: "{n} Zeilen" },
    hint: "Wir senden Ihnen einen Link zur Liste per E-Mail. Sie können diese Seite inzwischen schließen.",
    none: "Wählen Sie mindestens eine Gruppe.",
    sending: "Wird gestartet …",
    active: "Die Liste wird erstellt. Der Link geht per E-Mail an {email}; Sie können diese Seite schließen.",
    stopping: "Wird angehalten …",
    ready: "Die Liste ist fertig. Der Link geht auch per E-Mail an {email}.",
    sorry: "Die Liste konnte nicht erstellt werden.",
    lost: "Die Verbindung ist abgebrochen, die Liste läuft weiter. Neuer Versuch …",
    unreachable: "Der Dienst ist gerade nicht erreichbar.",
    forbidden: "Sie sind nicht angemeldet oder dürfen das nicht. Bitte laden Sie die Seite neu.",
    quota: "Das sind zu viele Listen auf einmal. Bitte versuchen Sie es {when} wieder.",
    past: "Frühere Listen",
    getIt: "Liste vom {date} holen",
    stopIt: "Liste vom {date} anhalten",
    eraseIt: "Liste vom {date} löschen",
    eraseAsk: "Diese Datei löschen? Auch ihre Links enden dann.",
    queued: "Wartet",
    running: "Läuft",
    failed: "Fehlgeschlagen",
    cancelled: "Angehalten",
    expired: "Abgelaufen",
    deleted: "Gelöscht",
  },
  es: {
    export: "Exportar",
    title: "Exportar audiencia",
    close: "Cerrar",
    download: "Descargar",
    downloadFile: "Descargar archivo",
    retry: "Reintentar",
    stop: "Detener",
    erase: "Borrar",
    keep: "Conservar",
    follower: "Seguidores",
    customer: "Clientes",
    affiliate: "Afiliados",
    people: { one: "{n} persona", many: "{n} de personas", other: "{n} personas" },
    upTo: "Hasta {people}, cada una una sola vez",
    rows: { one: "{n} fila", many: "{n} de filas", other: "{n} filas" },
    hint: "Le enviaremos por correo un enlace a la lista. Mientras tanto puede cerrar esta página.",
    none: "Seleccione al menos un grupo.",
    sending: "Iniciando…",
    active: "Preparando la lista. Enviaremos un enlace a {email}; puede cerrar esta página.",
    stopping: "Deteniendo…",
    ready: "La lista está lista. También enviamos su enlace a {email}.",
    sorry: "No se pudo crear la lista.",
    lost: "Se perdió la conexión; la lista sigue adelante. Conectando de nuevo…",
    unreachable: "No se puede acceder al servicio en este momento.",
    forbidden: "No ha iniciado sesión o no tiene permiso. Vuelva a cargar la página.",
    quota: "Son demasiadas listas a la vez. Vuelva a intentarlo {when}.",
    past: "Listas anteriores",
    getIt: "Obtener la lista del {date}",
    stopIt: "Detener la lista del {date}",
    eraseIt: "Borrar la lista del {date}",
    eraseAsk: "¿Borrar este archivo? Sus enlaces dejarán de funcionar.",
    queued: "En espera",
    running: "En curso",
    failed: "Fallida",
    cancelled: "Detenida",
    expired: "Caducada",
    deleted: "Borrada",
  },
  fr: {
    export: "Exporter",
    title: "Exporter l’audience",
    close: "Fermer",
    download: "Télécharger",
    downloadFile: "Télécharger le fichier",
    retry: "Réessayer",
    stop: "Arrêter",
    erase: "Effacer",
    keep: "Garder",
    follower: "Abonnés",
    customer: "Clients",
    affiliate: "Affiliés",
    people: { one: "{n} personne", many: "{n} de personnes", other: "{n} personnes" },
    upTo: "Jusqu’à {people}, chacune une seule fois",
    rows: { one: "{n} ligne", many: "{n} de lignes", other: "{n} lignes" },
    hint: "Nous vous enverrons par e-mail un lien vers la liste. Vous pouvez fermer cette page.",
    none: "Sélectionnez au moins un groupe.",
    sending: "Démarrage…",
    active: "La liste est en préparation. Un lien sera envoyé à {email} ; vous pouvez fermer cette page.",
    stopping: "Arrêt en cours…",
    ready: "La liste est prête. Son lien est aussi envoyé à {email}.",
    sorry: "La liste n’a pas pu être créée.",
    lost: "La connexion est perdue ; la liste continue sans elle. Nouvelle tentative…",
    unreachable: "Le service est injoignable pour le moment.",
    forbidden: "Vous n’êtes pas connecté ou n’en avez pas le droit. Rechargez la page.",
    quota: "C’est trop de listes à la fois. Réessayez {when}.",
    past: "Listes précédentes",
    getIt: "Obtenir la liste du {date}",
    stopIt: "Arrêter la liste du {date}",
    eraseIt: "Effacer la liste du {date}",
    eraseAsk: "Effacer ce fichier ? Ses liens cesseront de fonctionner.",
    queued: "En attente",
    running: "En cours",
    failed: "Échouée",
    cancelled: "Arrêtée",
    expired: "Expirée",
    deleted: "Effacée",
  },
};

const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
:host {
  display: inline-block;
  --bg: var(--audience-export-background, #fff);
  --fg: var(--audience-export-text, #16181d);
  --quiet: var(--audience-export-muted, #59616d);
  --line: var(--audience-export-border, #dfe2e8);
  --soft: var(--audience-export-soft, #f4f5f8);
  --accent: var(--audience-export-accent, #1d4ed8);
  --on: var(--audience-export-on-accent, #fff);
  --bad: var(--audience-export-danger, #b42318);
  --radius: var(--audience-export-radius, 10px);
}
@supports (color: light-dark(#000, #fff)) {
  :host {
    --bg: var(--audience-export-background, light-dark(#fff, #1b1d23));
    --fg: var(--audience-export-text, light-dark(#16181d, #eceef2));
    --quiet: var(--audience-export-muted, light-dark(#59616d, #a4abb6));
    --line: var(--audience-export-border, light-dark(#dfe2e8, #3a3e48));
    --soft: var(--audience-export-soft, light-dark(#f4f5f8, #262930));
    --accent: var(--audience-export-accent, light-dark(#1d4ed8, #8ab4ff));
    --on: var(--audience-export-on-accent, light-dark(#fff, #0a1a3c));
    --bad: var(--audience-export-danger, light-dark(#b42318, #ff9d93));
  }
}
:host([hidden]), [hidden] { display: none !important; }
* { box-sizing: border-box; margin: 0; }
.trigger, dialog {
  color: var(--fg);
  font: 400 15px/1.4 system-ui;
  font-family: var(--audience-export-font, inherit);
  letter-spacing: normal;
  text-align: start;
  text-transform: none;
  white-space: normal;
}
button, .file {
  display: inline-flex;
  align-items: center;
  justify-content: center;
  gap: 8px;
  min-block-size: 36px;
  padding: 6px 14px;
  border: 1px solid var(--line);
  border-radius: calc(var(--radius) * .7);
  background: var(--bg);
  color: inherit;
  font: inherit;
  font-weight: 600;
  text-decoration: none;
  cursor: pointer;
}
button:hover, .file:hover { background: var(--soft); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.main, .file { background: var(--accent); border-color: transparent; color: var(--on); }
.main:hover, .file:hover { background: color-mix(in srgb, var(--accent) 88%, var(--fg)); }
.main:disabled { background: var(--soft); border-color: var(--line); color: var(--quiet); cursor: default; }
.bad { color: var(--bad); }
.icon { min-block-size: 32px; inline-size: 32px; padding: 0; border-color: transparent; background: none; color: var(--quiet); }
.icon:hover { color: var(--fg); }
svg { inline-size: 16px; block-size: 16px; flex: none; fill: none; stroke: currentColor; stroke-width: 1.7; stroke-linecap: round; stroke-linejoin: round; }
.spin { inline-size: 14px; block-size: 14px; flex: none; border: 2px solid; border-block-start-color: transparent; border-radius: 50%; animation: spin .8s linear infinite; }
dialog {
  inline-size: min(420px, 100vw - 24px);
  max-block-size: calc(100dvh - 24px);
  margin: auto;
  padding: 0;
  overflow: auto;
  overscroll-behavior: contain;
  border: 1px solid var(--line);
  border-radius: calc(var(--radius) * 1.4);
  background: var(--bg);
  box-shadow: 0 24px 60px -12px rgb(0 0 0 / .35);
}
dialog[open] { animation: rise .18s ease-out; }
dialog::backdrop { background: rgb(10 13 20 / .45); }
form { display: grid; gap: 12px; padding: 16px 18px; }
header { display: grid; grid-template-columns: 1fr auto; column-gap: 8px; }
h2 { font-size: 18px; line-height: 1.3; }
header p { grid-row: 2; color: var(--quiet); min-block-size: 1.4em; font-variant-numeric: tabular-nums; }
.close { grid-area: 1 / 2 / 3; margin: -4px -8px 0 0; margin-inline: 0 -8px; align-self: start; }
fieldset { min-inline-size: 0; padding: 0; border: 1px solid var(--line); border-radius: var(--radius); overflow: hidden; }
label { display: flex; align-items: center; gap: 10px; padding: 9px 12px; cursor: pointer; }
label + label { border-block-start: 1px solid var(--line); }
label:hover { background: var(--soft); }
label :last-child { margin-inline-start: auto; color: var(--quiet); font-variant-numeric: tabular-nums; }
label:has(:focus-visible) { outline: 2px solid var(--accent); outline-offset: -2px; }
label:first-child { border-radius: calc(var(--radius) - 1px) calc(var(--radius) - 1px) 0 0; }
label:last-child { border-radius: 0 0 calc(var(--radius) - 1px) calc(var(--radius) - 1px); }
input { inline-size: 17px; block-size: 17px; flex: none; margin: 0; accent-color: var(--accent); outline: none; cursor: inherit; }
.progress { display: flex; align-items: center; gap: 10px; color: var(--quiet); font-size: 13px; font-variant-numeric: tabular-nums; }
.bar { flex: 1; block-size: 6px; border-radius: 3px; background: var(--line); overflow: hidden; }
.bar i { display: block; block-size: 100%; inline-size: 0; border-radius: inherit; background: var(--accent); transition: inline-size .5s; }
.bar:not([aria-valuenow]) i { inline-size: 35%; animation: slide 1.4s ease-in-out infinite alternate; }
[role="status"] { overflow-wrap: anywhere; outline: none; }
.file { inline-size: 100%; flex-wrap: wrap; column-gap: 8px; row-gap: 0; }
.file small { font-size: 13px; font-weight: 400; }
.actions { display: flex; flex-wrap: wrap; justify-content: flex-end; gap: 8px; }
.past { padding: 10px 18px 12px; border-block-start: 1px solid var(--line); background: var(--soft); }
h3 { font-size: 13px; color: var(--quiet); }
ul { max-block-size: 208px; margin-inline: -6px; padding: 0 6px; list-style: none; overflow: auto; }
li { display: flex; align-items: center; min-block-size: 46px; padding-block: 4px; gap: 2px; }
li + li { border-block-start: 1px solid var(--line); }
li > div { flex: 1; min-inline-size: 0; overflow-wrap: anywhere; }
li small { display: block; color: var(--quiet); font-size: 13px; font-variant-numeric: tabular-nums; }
li .bad { color: var(--bad); }
li > button:not(.icon) { min-block-size: 32px; margin-inline-start: 6px; padding: 2px 10px; font-size: 14px; }
li a { display: inline-flex; align-items: center; justify-content: center; border-radius: calc(var(--radius) * .7); }
li .icon:hover { background: var(--bg); }
@keyframes spin { to { rotate: 1turn; } }
@keyframes rise { from { translate: 0 10px; } }
@keyframes slide { from { margin-inline-start: 0; } to { margin-inline-start: 65%; } }
@media (max-width: 480px) { .actions button { flex: 1; } }
@media (prefers-reduced-motion: reduce) {
  *, .bar i { animation: none !important; transition: none !important; }
  .bar:not([aria-valuenow]) i { inline-size: 100%; opacity: .4; }
}
@media (forced-colors: active) { .bar { border: 1px solid; } .bar i { background: Highlight; } }
`);

const ICONS = {
  down: "M8 2v8m0 0 3.2-3.2M8 10 4.8 6.8M2.5 11v1.5a1 1 0 0 0 1 1h9a1 1 0 0 0 1-1V11",
  close: "m4 4 8 8m0-8-8 8",
  stop: "M5 5h6v6H5z",
  bin: "M3 4.5h10m-6.5 0V3h3v1.5m2.2 0-.6 8.5H4.9l-.6-8.5",
};

/** What the service answered when it did not do what was asked; see RFC 9457. */
class Problem extends Error {
  constructor(status, retryAfterS, document) {
    super(document.detail);
    Object.assign(this, { status, retryAfterS });
  }
}

/** Make an element; what is `undefined` or `false` is left out. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS(space, tag));
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

const spinner = () => make("span", { class: "spin", "aria-hidden": "true", hidden: true });

const isActive = (job) => ACTIVE.includes(job?.status);

const pause = (ms, signal) =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
    signal.addEventListener("abort", resolve, { once: true });
    addEventListener("online", resolve, { once: true });
  });

/** Yield the events of a `text/event-stream`; `heard` is called for every piece that arrives. */
async function* eventsOf(answer, heard) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const event = {};
      for (const line of block.split("\n")) {
        const [, name, content] = /^(\w*): ?(.*)$/.exec(line) ?? [];
        if (name) event[name] = content;
      }
      if (event.data) yield event;
    }
  }
}

class AudienceExport extends HTMLElement {
  static observedAttributes = ["lang"];

  #sources = ["follower", "customer", "affiliate"].map((key) => ({ key }));
  #ticked = new Set(DEFAULT);
  #total;
  #past = [];
  #job = null; // the export shown, as the service last described it
  #problem = null; // what went wrong, and how to try again: { text, again }
  #isSending = false;
  #isStopping = false;
  #isLost = false;
  #asking = null; // the id of the export that is to be erased, while we ask
  #key = null;
  #token = null;
  #streams = true;
  #watch = null;
  #listTimer;
  #messages;
  #own = {};
  #locale = "en";
  #ui = {};

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [STYLE];
    this.#build(root);
  }

  connectedCallback() {
    if (Object.hasOwn(this, "messages")) {
      const { messages } = this; // set before the element was defined
      delete this.messages;
      this.messages = messages;
    }
    this.#speak();
    if (isActive(this.#job)) this.#follow(this.#job);
  }

  disconnectedCallback() {
    this.#watch?.abort();
    clearTimeout(this.#listTimer);
  }

  attributeChangedCallback() {
    if (this.isConnected) this.#speak();
  }

  /** Texts of the page's own, by name; those it leaves out are the shipped ones. */
  get messages() {
    return this.#own;
  }

  set messages(messages) {
    this.#own = messages ?? {};
    if (this.isConnected) this.#speak();
  }

  /** Open the dialog. */
  open() {
    if (this.#ui.dialog.open) return;
    this.#speak();
    this.#ui.dialog.showModal();
    this.#ui.boxes.querySelector("input")?.focus();
    this.#load();
  }

  /** Close the dialog; a running export goes on. */
  close() {
    this.#ui.dialog.close();
  }

  // What is on the page.

  #build(root) {
    const ui = this.#ui;
    ui.busy = spinner();
    ui.label = make("span");
    ui.trigger = make(
      "button",
      { type: "button", class: "trigger", part: "button", onclick: () => this.open() },
      icon("down"),
      ui.label,
      ui.busy,
    );
    ui.title = make("h2", { id: "title" });
    ui.reach = make("p", { id: "reach" });
    ui.close = this.#iconButton("close", () => this.close());
    ui.close.classList.add("close");
    ui.boxes = make("fieldset", { "aria-labelledby": "title", "aria-describedby": "reach" });
    ui.bar = make("div", { class: "bar", role: "progressbar", "aria-labelledby": "status" }, make("i"));
    ui.percent = make("span", { "aria-hidden": "true" });
    ui.progress = make("div", { class: "progress" }, ui.bar, ui.percent);
    ui.status = make("p", { id: "status", role: "status", tabindex: -1 });
    ui.fileLabel = make("span");
    ui.fileFacts = make("small");
    ui.file = make(
      "a",
      { class: "file", part: "file", onclick: (event) => this.#fetchFile(event, this.#job) },
      icon("down"),
      ui.fileLabel,
      ui.fileFacts,
    );
    ui.stop = make("button", { type: "button", onclick: () => this.#stop(this.#job) });
    ui.retry = make("button", { type: "button", onclick: () => this.#again() });
    ui.sending = spinner();
    ui.downloadLabel = make("span");
    ui.download = make("button", { type: "submit", class: "main", part: "download" }, ui.sending, ui.downloadLabel);
    ui.actions = make("div", { class: "actions" }, ui.stop, ui.retry, ui.download);
    ui.form = make(
      "form",
      { onsubmit: (event) => this.#submit(event) },
      make("header", {}, ui.title, ui.reach, ui.close),
      ui.boxes,
      ui.progress,
      ui.status,
      ui.file,
      ui.actions,
    );
    ui.pastTitle = make("h3", { id: "past", tabindex: -1 });
    ui.list = make("ul", { "aria-labelledby": "past" });
    ui.past = make("section", { class: "past", "aria-labelledby": "past" }, ui.pastTitle, ui.list);
    ui.dialog = make(
      "dialog",
      { part: "dialog", "aria-labelledby": "title", onclose: () => this.#closed() },
      ui.form,
      ui.past,
    );
    let outside = false; // pressed and released outside: selecting text does not count
    ui.dialog.addEventListener("pointerdown", (event) => (outside = event.target === ui.dialog));
    ui.dialog.addEventListener("click", (event) => {
      if (outside && event.target === ui.dialog) this.close();
    });
    root.append(ui.trigger, ui.dialog);
  }

  #iconButton(name, onclick, label) {
    return make(
      "button",
      { type: "button", class: "icon", "aria-label": label, title: label, onclick },
      icon(name),
    );
  }

  /** Choose the language, and say everything again. */
  #speak() {
    const wanted = this.closest("[lang]")?.lang || navigator.language;
    const main = (tag) => tag.toLowerCase().split("-")[0];
    const known = Object.keys(MESSAGES).find((tag) => main(tag) === main(wanted));
    const shipped = MESSAGES[known ?? "en"];
    this.#messages = { ...MESSAGES.en, ...shipped, ...this.#own };
    const isOurs = known || Object.keys(this.#own).length;
    try {
      [this.#locale = "en"] = Intl.getCanonicalLocales(isOurs ? wanted : "en");
    } catch {
      this.#locale = known ?? "en";
    }
    const ui = this.#ui;
    ui.dialog.lang = this.#locale;
    for (const [element, name] of [
      [ui.label, "export"],
      [ui.title, "title"],
      [ui.stop, "stop"],
      [ui.retry, "retry"],
      [ui.downloadLabel, "download"],
      [ui.fileLabel, "downloadFile"],
      [ui.pastTitle, "past"],
    ]) {
      element.textContent = this.#messages[name];
    }
    ui.close.ariaLabel = ui.close.title = this.#messages.close;
    this.#showBoxes();
    this.#showPast();
    this.#update();
  }

  #say(name, values = {}) {
    let text = this.#messages[name];
    if (typeof text === "object") {
      text = text[new Intl.PluralRules(this.#locale).select(values.n)] ?? text.other;
    }
    return text.replace(/{(\w+)}/g, (_, key) =>
      typeof values[key] === "number" ? this.#number(values[key]) : values[key],
    );
  }

  #number(value, options) {
    return new Intl.NumberFormat(this.#locale, options).format(value);
  }

  #size({ bytes }) {
    const power = bytes < 1e6 ? 1 : bytes < 1e9 ? 2 : 3;
    const unit = [, "kilobyte", "megabyte", "gigabyte"][power];
    return this.#number(bytes / 1000 ** power, { style: "unit", unit, maximumFractionDigits: 1 });
  }

  #facts(file) {
    return [this.#say("rows", { n: file.rows }), this.#size(file)].join(" · ");
  }

  #date(job) {
    const style = { dateStyle: "medium", timeStyle: "short" };
    return new Intl.DateTimeFormat(this.#locale, style).format(new Date(job.created_at));
  }

  /** A source's name: the page's, the language's, or as the service has it. */
  #sourceName(key) {
    const label = this.#sources.find((source) => source.key === key)?.label;
    const isEnglish = this.#messages[key] === MESSAGES.en[key];
    return (isEnglish && label) || this.#messages[key] || label || key;
  }

  #showBoxes() {
    const focused = this.shadowRoot.activeElement?.name;
    const rows = this.#sources.map(({ key, count }) => {
      const box = make("input", {
        type: "checkbox",
        name: key,
        checked: this.#ticked.has(key),
        "aria-labelledby": `name-${key}`,
        "aria-describedby": `count-${key}`,
        onchange: () => this.#tick(key, box.checked),
      });
      const shown = count === undefined ? "" : this.#number(count);
      return make(
        "label",
        {},
        box,
        make("span", { id: `name-${key}` }, this.#sourceName(key)),
        make("span", { id: `count-${key}` }, shown),
      );
    });
    this.#ui.boxes.replaceChildren(...rows);
    if (focused) this.#ui.boxes.querySelector(`[name="${focused}"]`)?.focus();
  }

  #tick(key, isTicked) {
    this.#ticked[isTicked ? "add" : "delete"](key);
    this.#key = null;
    this.#update();
  }

  #selection() {
    return this.#sources.map(({ key }) => key).filter((key) => this.#ticked.has(key));
  }

  /** How many people the list will hold, as far as the counts can tell. */
  #reach() {
    const counts = this.#sources.map(({ key, count }) => [this.#ticked.has(key), count]);
    const ticked = counts.filter(([isTicked]) => isTicked).map(([, count]) => count);
    if (!ticked.length || ticked.includes(undefined)) return "";
    const isAll = counts.every(([isTicked, count]) => isTicked || !count);
    const least = isAll ? this.#total : Math.max(...ticked);
    const most = Math.min(this.#total, isAll ? this.#total : ticked.reduce((sum, n) => sum + n));
    const people = this.#say("people", { n: most });
    return least === most ? people : this.#say("upTo", { people });
  }

  #update() {
    const ui = this.#ui;
    const job = this.#job;
    const selection = this.#selection();
    const isRunning = isActive(job);
    const isSame = isRunning && String(job.sources) === String(selection);
    const isReady = !this.#isSending && job?.status === "succeeded" && job.download_url;
    const isBusy = this.#isSending || isSame;
    ui.reach.textContent = this.#reach();
    ui.download.disabled = isBusy || !selection.length;
    ui.sending.hidden = !isBusy;
    ui.busy.hidden = !isRunning;
    ui.stop.hidden = !isRunning;
    ui.stop.disabled = this.#isStopping;
    ui.retry.hidden = this.#isSending || !(this.#problem || job?.status === "failed");
    this.#showProgress(isRunning && job.progress);
    const text = this.#statusText(selection);
    if (ui.status.textContent !== text) ui.status.textContent = text;
    ui.status.className = ui.retry.hidden ? "" : "bad";
    ui.file.hidden = !isReady;
    if (isReady) {
      ui.file.href = job.download_url;
      ui.fileFacts.textContent = this.#facts(job.file);
    }
  }

  #statusText(selection) {
    const job = this.#job;
    if (this.#isSending) return this.#say("sending");
    if (this.#problem) return this.#problem.text;
    if (isActive(job)) {
      if (this.#isStopping) return this.#say("stopping");
      return this.#say(this.#isLost ? "lost" : "active", { email: job.recipient_email });
    }
    if (!selection.length) return this.#say("none");
    if (job?.status === "succeeded") return this.#say("ready", { email: job.recipient_email });
    if (job?.status === "failed") {
      const detail = this.#locale.startsWith("en") ? job.error?.detail : "";
      return `${this.#say("sorry")} ${detail ?? ""}`.trim();
    }
    return this.#say(job ? job.status : "hint");
  }

  #showProgress(progress) {
    const { progress: row, bar, percent } = this.#ui;
    row.hidden = !progress;
    const { rows_exported: done = 0, rows_estimated: all = 0 } = progress || {};
    const share = all && done ? Math.min(done / all, 0.99) : 0;
    percent.textContent = share ? this.#number(share, { style: "percent" }) : "";
    bar.firstChild.style.inlineSize = share ? `${share * 100}%` : "";
    if (share) bar.ariaValueNow = Math.round(share * 100);
    else bar.removeAttribute("aria-valuenow");
  }

  #showPast() {
    const { past, list } = this.#ui;
    const focused = this.shadowRoot.activeElement?.dataset.of;
    const shown = this.#past.filter(({ id, status }) => id !== this.#job?.id || !ACTIVE.includes(status));
    past.hidden = !shown.length;
    list.replaceChildren(...shown.map((job) => this.#pastRow(job)));
    list.tabIndex = list.scrollHeight > list.clientHeight ? 0 : -1;
    if (focused) (list.querySelector(`[data-of="${focused}"]`) ?? this.#ui.pastTitle).focus();
  }

  #pastRow(job) {
    const names = new Intl.ListFormat(this.#locale, { style: "narrow", type: "unit" });
    const date = this.#date(job);
    const state = job.file && job.download_url ? this.#facts(job.file) : this.#say(job.status);
    const action = (name, sign, label, onclick) => {
      const button = this.#iconButton(sign, onclick, this.#say(label, { date }));
      button.dataset.of = `${name}-${job.id}`;
      return button;
    };
    const buttons = [];
    if (this.#asking === job.id) {
      const answer = (label, css, onclick) =>
        make("button", { type: "button", class: css, "data-of": `${label}-${job.id}`, onclick }, this.#say(label));
      return make(
        "li",
        {},
        make("div", {}, this.#say("eraseAsk")),
        answer("erase", "bad", () => this.#erase(job)),
        answer("keep", undefined, () => this.#ask(null, `bin-${job.id}`)),
      );
    }
    if (job.download_url) {
      const label = this.#say("getIt", { date });
      buttons.push(
        make(
          "a",
          {
            class: "icon",
            href: job.download_url,
            "aria-label": label,
            title: label,
            "data-of": `get-${job.id}`,
            onclick: (event) => this.#fetchFile(event, job),
          },
          icon("down"),
        ),
        action("bin", "bin", "eraseIt", () => this.#ask(job.id, `keep-${job.id}`)),
      );
    }
    if (isActive(job)) buttons.push(action("stop", "stop", "stopIt", () => this.#stop(job)));
    const isBad = job.status === "failed";
    return make(
      "li",
      {},
      make(
        "div",
        {},
        names.format(job.sources.map((key) => this.#sourceName(key))),
        make("small", {}, `${date} · `, make("span", { class: isBad && "bad" }, state)),
      ),
      ...buttons,
    );
  }

  #ask(id, focus) {
    this.#asking = id;
    this.#showPast();
    this.#ui.list.querySelector(`[data-of="${focus}"]`)?.focus();
  }

  #closed() {
    clearTimeout(this.#listTimer);
    this.#problem = this.#asking = null;
    if (!isActive(this.#job)) this.#job = null;
    this.#update();
  }

  // What it does.

  /** Ask the service, with a new token once the old one has expired. */
  async #call(path, { headers, ...options } = {}) {
    const base = new URL(this.getAttribute("api") || new URL(".", import.meta.url), document.baseURI);
    for (let isFresh = false; ; isFresh = true) {
      const token = (this.#token ??= Promise.resolve(this.getToken({ isFresh })));
      const renew = () => {
        if (this.#token === token) this.#token = null;
      };
      const answer = await fetch(base.href.replace(/\/*$/, "") + path, {
        ...options,
        headers: { ...headers, Authorization: `Bearer ${await token.catch((error) => (renew(), Promise.reject(error)))}` },
        cache: "no-store",
        credentials: "omit",
        referrerPolicy: "no-referrer",
      });
      if (answer.ok) return answer;
      if (answer.status !== 401 || isFresh) {
        const document = await answer.json().catch(() => ({}));
        throw new Problem(answer.status, Number(answer.headers.get("Retry-After")), document);
      }
      renew();
    }
  }

  async #json(path, options) {
    return (await this.#call(path, options)).json();
  }

  /** Do something that may go wrong; then say so, and offer to try again. */
  async #try(work) {
    this.#problem = null;
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Problem)) console.warn("audience-export:", error);
      this.#problem = { text: this.#explain(error), again: () => this.#try(work) };
    }
    this.#update();
  }

  #explain({ status, retryAfterS, message }) {
    if (status === 401 || status === 403) return this.#say("forbidden");
    if (status === 429) {
      const [unit, s] = retryAfterS < 60 ? ["second", 1] : ["minute", 60];
      const format = new Intl.RelativeTimeFormat(this.#locale);
      return this.#say("quota", { when: format.format(Math.ceil(retryAfterS / s), unit) });
    }
    return status < 500 && message ? message : this.#say("unreachable");
  }

  #again() {
    const { again } = this.#problem ?? {};
    this.#ui.status.focus();
    return again ? again() : this.#start(this.#job.sources);
  }

  #load() {
    return this.#try(async () => {
      const [audience] = await Promise.all([this.#json("/audience"), this.#refresh()]);
      this.#sources = audience.sources;
      this.#total = audience.total;
      this.#showBoxes();
    });
  }

  /** Read the past exports again; one that still runs is found, whoever asked for it. */
  async #refresh() {
    clearTimeout(this.#listTimer);
    const { items } = await this.#json("/exports?limit=10");
    this.#past = items;
    const running = items.filter(isActive);
    if (!this.#job && running.length) this.#follow(running[0]);
    this.#showPast();
    if (this.#ui.dialog.open && running.some(({ id }) => id !== this.#job?.id)) {
      this.#listTimer = setTimeout(() => this.#refresh().catch(() => {}), LIST_MS);
    }
  }

  #submit(event) {
    event.preventDefault();
    if (!this.#ui.download.disabled) this.#start(this.#selection());
  }

  #start(sources) {
    return this.#try(async () => {
      this.#key ??= crypto.getRandomValues(new Uint32Array(4)).join("-");
      this.#isSending = true;
      this.#update();
      this.#ui.status.focus();
      try {
        const job = await this.#json("/exports", {
          method: "POST",
          headers: { "Content-Type": "application/json", "Idempotency-Key": this.#key },
          body: JSON.stringify(Object.fromEntries(sources.map((key) => [key, true]))),
        });
        this.#key = null;
        this.#tell("started", job);
        this.#follow(job);
      } finally {
        this.#isSending = false;
      }
      await this.#refresh();
    });
  }

  /** Show an export until it has ended: by its events, or by asking where these do not come. */
  async #follow(first) {
    this.#watch?.abort();
    const { signal } = (this.#watch = new AbortController());
    const show = (job) => {
      if (signal.aborted) return;
      this.#isLost = false;
      this.#job = job;
      this.#update();
    };
    const path = `/exports/${first.id}`;
    const seen = {};
    this.#isStopping = false;
    show(first);
    for (let failures = 0; isActive(this.#job) && !signal.aborted; ) {
      try {
        if (this.#streams) await this.#listen(path, seen, signal, show);
        if (isActive(this.#job)) show(await this.#json(`${path}?wait=${POLL_S}`, { signal }));
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (error.status < 500) {
          this.#job = null;
          this.#problem = { text: this.#explain(error), again: () => this.#load() };
          this.#update();
          return;
        }
        this.#isLost = true;
        this.#update();
        await pause(RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)], signal);
      }
    }
    if (!signal.aborted) this.#ended();
  }

  /** Read the export's events until they end; without any within a while, never try again. */
  async #listen(path, seen, signal, show) {
    const stream = new AbortController();
    const abort = () => stream.abort();
    signal.addEventListener("abort", abort);
    let timer = setTimeout(() => {
      this.#streams = false; // something on the way holds events back
      abort();
    }, FIRST_BYTE_MS);
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(abort, SILENCE_MS);
    };
    const headers = { Accept: "text/event-stream" };
    if (seen.id) headers["Last-Event-ID"] = seen.id;
    try {
      const answer = await this.#call(`${path}/events`, { headers, signal: stream.signal });
      if (!answer.body) return;
      for await (const { id, data } of eventsOf(answer, heard)) {
        seen.id = id;
        show(JSON.parse(data));
      }
    } catch (error) {
      if (error.status < 500) this.#streams = false; // what is wrong, the next question tells
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      abort();
    }
  }

  #ended() {
    const job = this.#job;
    const names = { succeeded: "finished", failed: "failed", cancelled: "cancelled" };
    if (names[job.status]) this.#tell(names[job.status], job);
    if (!this.#ui.dialog.open) return;
    this.#refresh().catch(() => {});
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(`export-${name}`, { detail, bubbles: true, composed: true }));
  }

  /** Download by an address made anew: the one at hand may have ended. */
  #fetchFile(event, job) {
    event.preventDefault();
    return this.#try(async () => {
      const current = await this.#json(`/exports/${job.id}`);
      if (this.#job?.id === job.id) this.#job = current;
      if (current.download_url) make("a", { href: current.download_url, rel: "noreferrer" }).click();
      else await this.#refresh();
    });
  }

  #stop(job) {
    return this.#try(async () => {
      this.#isStopping = this.#job?.id === job.id;
      this.#update();
      this.#ui.status.focus();
      try {
        await this.#call(`/exports/${job.id}`, { method: "DELETE" });
      } catch (error) {
        this.#isStopping = false;
        throw error;
      }
      await this.#refresh();
    });
  }

  #erase(job) {
    return this.#try(async () => {
      const erased = await this.#json(`/exports/${job.id}`, { method: "DELETE" });
      if (this.#job?.id === job.id) this.#job = erased;
      this.#asking = null;
      await this.#refresh();
    });
  }
}

if (!customElements.get("audience-export")) customElements.define("audience-export", AudienceExport);
