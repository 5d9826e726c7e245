/**
 * The export dialog as a custom element: <audience-export api="https://exports.example">.
 *
 * The page sets the property `getToken`; everything else is optional. See widget.d.ts.
 */

const POLL_S = 2;
const FIRST_BYTE_MS = 8000;
const SILENCE_MS = 40000;
const RETRY_MS = 500;
const RETRY_MAX_MS = 15000;
const RELIST_MS = 3000;

const MESSAGES = {
  en: {
    export: "Export",
    title: "Export audience",
    close: "Close",
    download: "Download",
    downloadFile: "Download file",
    retry: "Try again",
    stop: "Stop",
    get: "Get",
    erase: "Erase",
    keep: "Keep",
    follower: "Followers",
    customer: "Customers",
    affiliate: "Affiliates",
    people: { one: "{n} person", other: "{n} people" },
    upTo: "Up to {people}",
    rows: { one: "{n} row", other: "{n} rows" },
    hint: "We will email you a link to the list. You may close this page meanwhile.",
    none: "Select at least one group.",
    sending: "Starting …",
    active: "Preparing the list. We will email a link to {email}; you may close this page.",
    stopping: "Stopping …",
    ready: "The list is ready. We email its link to {email} as well.",
    sorry: "The list could not be made.",
    lost: "Connection lost; the list goes on. Connecting again …",
    unreachable: "The service cannot be reached just now.",
    forbidden: "You are not signed in, or may not do this.",
    quota: "Too many lists at once. Please try again {when}.",
    past: "Past lists",
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
    get: "获取",
    erase: "删除",
    keep: "保留",
    follower: "关注者",
    customer: "客户",
    affiliate: "联盟伙伴",
    people: "{n} 人",
    upTo: "最多 {people}",
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
    forbidden: "您尚未登录或没有权限。",
    quota: "同时导出的名单太多，请{when}再试。",
    past: "历史名单",
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
    get: "Holen",
    erase: "Löschen",
    keep: "Behalten",
    follower: "Follower",
    customer: "Kunden",
    affiliate: "Partner",
    people: { one: "{n} Person", other: "{n} Personen" },
    upTo: "Bis zu {people}",
    rows: { one: "{n} Zeile", other: "{n} Zeilen" },
    hint: "Wir senden Ihnen einen Link zur Liste per E-Mail. Sie können diese Seite inzwischen schließen.",
    none: "Wählen Sie mindestens eine Gruppe.",
    sending: "Wird gestartet …",
    active: "Die Liste wird erstellt. Der Link geht per E-Mail an {email}; Sie können diese Seite schließen.",
    stopping: "Wird angehalten …",
    ready: "Die Liste ist fertig. Der Link geht auch per E-Mail an {email}.",
    sorry: "Die Liste konnte nicht erstellt werden.",
    lost: "Verbindung verloren, die Liste läuft weiter. Neuer Versuch …",
    unreachable: "Der Dienst ist gerade nicht erreichbar.",
    forbidden: "Sie sind nicht angemeldet oder dürfen das nicht.",
    quota: "Zu viele Listen auf einmal. Bitte versuchen Sie es {when} wieder.",
    past: "Frühere Listen",
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
    get: "Obtener",
    erase: "Borrar",
    keep: "Conservar",
    follower: "Seguidores",
    customer: "Clientes",
    affiliate: "Afiliados",
    people: { one: "{n} persona", many: "{n} de personas", other: "{n} personas" },
    upTo: "Hasta {people}",
    rows: { one: "{n} fila", many: "{n} de filas", other: "{n} filas" },
    hint: "Le enviaremos por correo un enlace a la lista. Mientras tanto puede cerrar esta página.",
    none: "Seleccione al menos un grupo.",
    sending: "Iniciando…",
    active: "Preparando la lista. Enviaremos un enlace a {email}; puede cerrar esta página.",
    stopping: "Deteniendo…",
    ready: "La lista está lista. También enviamos su enlace a {email}.",
    sorry: "No se pudo crear la lista.",
    lost: "Conexión perdida; la lista sigue. Conectando de nuevo…",
    unreachable: "No se puede acceder al servicio en este momento.",
    forbidden: "No ha iniciado sesión o no tiene permiso.",
    quota: "Demasiadas listas a la vez. Vuelva a intentarlo {when}.",
    past: "Listas anteriores",
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
    get: "Obtenir",
    erase: "Effacer",
    keep: "Garder",
    follower: "Abonnés",
    customer: "Clients",
    affiliate: "Affiliés",
    people: { one: "{n} personne", many: "{n} de personnes", other: "{n} personnes" },
    upTo: "Jusqu’à {people}",
    rows: { one: "{n} ligne", many: "{n} de lignes", other: "{n} lignes" },
    hint: "Nous vous enverrons par e-mail un lien vers la liste. Vous pouvez fermer cette page.",
    none: "Sélectionnez au moins un groupe.",
    sending: "Démarrage…",
    active: "La liste est en préparation. Un lien sera envoyé à {email} ; vous pouvez fermer cette page.",
    stopping: "Arrêt en cours…",
    ready: "La liste est prête. Son lien est aussi envoyé à {email}.",
    sorry: "La liste n’a pas pu être créée.",
    lost: "Connexion perdue ; la liste continue. Nouvelle tentative…",
    unreachable: "Le service est injoignable pour le moment.",
    forbidden: "Vous n’êtes pas connecté ou n’en avez pas le droit.",
    quota: "Trop de listes à la fois. Réessayez {when}.",
    past: "Listes précédentes",
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
  --bg: var(--audience-export-background, light-dark(#fff, #1b1d23));
  --fg: var(--audience-export-text, light-dark(#16181d, #eceef2));
  --quiet: var(--audience-export-muted, light-dark(#59616d, #a4abb6));
  --line: var(--audience-export-border, light-dark(#dfe2e8, #3a3e48));
  --soft: var(--audience-export-soft, light-dark(#f4f5f8, #262930));
  --accent: var(--audience-export-accent, light-dark(#1d4ed8, #8ab4ff));
  --on: var(--audience-export-on-accent, light-dark(#fff, #0a1a3c));
  --bad: var(--audience-export-danger, light-dark(#b42318, #ff9d93));
  --round: var(--audience-export-radius, 10px);
}
:host([hidden]), [hidden] { display: none !important; }
* { box-sizing: border-box; margin: 0; }
#trigger, dialog {
  color: var(--fg);
  font: 15px/1.4 system-ui;
  font-family: var(--audience-export-font, inherit);
  letter-spacing: normal;
  text-align: start;
  text-transform: none;
  white-space: normal;
}
dialog button { font: inherit; }
button, a {
  display: inline-flex;
  align-items: center;
  justify-content: center;
  gap: 0 8px;
  min-block-size: 36px;
  padding: 6px 14px;
  border: 1px solid var(--line);
  border-radius: calc(var(--round) * .7);
  background: var(--bg);
  color: inherit;
  text-decoration: none;
  cursor: pointer;
}
button, #file > span { font-weight: 600 !important; }
button:hover { background: var(--soft); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.main, #file { background: var(--accent); border-color: #0000; color: var(--on); }
.main:hover, #file:hover { background: color-mix(in srgb, var(--accent) 88%, var(--fg)); }
#file { flex-wrap: wrap; }
#file:not([hidden]) ~ div .main { background: var(--bg); border-color: var(--line); color: inherit; }
#file:not([hidden]) ~ div .main:hover { background: var(--soft); }
.main:disabled { background: var(--soft) !important; border-color: var(--line); color: var(--quiet) !important; cursor: default; }
.icon { min-block-size: 32px; inline-size: 32px; padding: 0; border-color: #0000; background: none; color: var(--quiet); }
.icon:hover { background: var(--line); color: var(--fg); }
svg { inline-size: 16px; flex: none; fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linecap: round; stroke-linejoin: round; }
.spin { inline-size: 14px; block-size: 14px; flex: none; border: 2px solid; border-block-start-color: #0000; border-radius: 50%; animation: spin .8s linear infinite; }
dialog {
  inline-size: min(420px, 100vw - 24px);
  max-block-size: calc(100dvh - 24px);
  margin: max(12px, 12dvh - 24px) auto auto;
  padding: 0;
  overflow: auto;
  overscroll-behavior: contain;
  border: 1px solid var(--line);
  border-radius: calc(var(--round) * 1.4);
  background: var(--bg);
  box-shadow: 0 24px 60px -12px rgb(0 0 0 / .4);
}
dialog[open] { animation: rise .18s ease-out; }
dialog::backdrop { background: rgb(10 13 20 / .45); }
form { display: grid; gap: 12px; padding: 16px 18px; }
header { display: grid; grid-template-columns: 1fr auto; }
h2 { font-size: 18px; line-height: 1.3; }
small, h3, .quiet, #reach, #progress, label :last-child { color: var(--quiet); }
small, #reach, #progress, label :last-child { font-variant-numeric: tabular-nums; }
small, h3, #progress { font-size: 13px; }
#reach { min-block-size: 1.4em; }
#close { grid-area: 1 / 2 / 3; align-self: start; margin-block-start: -4px; margin-inline-end: -8px; }
fieldset { min-inline-size: 0; padding: 0; border: 1px solid var(--line); border-radius: var(--round); overflow: hidden; }
label { display: flex; align-items: center; gap: 10px; padding: 9px 12px; cursor: pointer; }
label + label, li + li { border-block-start: 1px solid var(--line); }
label:hover { background: var(--soft); }
label :last-child { margin-inline-start: auto; }
input { inline-size: 17px; block-size: 17px; flex: none; accent-color: var(--accent); }
#progress { display: flex; align-items: center; gap: 10px; }
#bar { flex: 1; block-size: 6px; border-radius: 3px; background: var(--line); overflow: hidden; }
#bar i { display: block; block-size: 100%; border-radius: inherit; background: var(--accent); transition: inline-size .5s; }
#bar:not([aria-valuenow]) i { inline-size: 35%; animation: slide 1.4s ease-in-out infinite alternate; }
#status { overflow-wrap: anywhere; outline: none; }
#file small { color: inherit; }
#actions { display: flex; flex-wrap: wrap; justify-content: end; gap: 8px; }
#past { padding: 10px 18px; border-block-start: 1px solid var(--line); background: var(--soft); }
#list { max-block-size: 216px; margin-inline: -6px; padding-inline: 6px; list-style: none; overflow: auto; }
li { display: flex; flex-wrap: wrap; align-items: center; gap: 2px; min-block-size: 46px; padding-block: 4px; }
li div { flex: 1 1 10em; }
small { display: block; }
li button:not(.icon) { min-block-size: 32px; margin-inline-start: 6px; padding: 2px 10px; }
.failed { color: var(--bad); }
@keyframes spin { to { rotate: 1turn; } }
@keyframes rise { from { translate: 0 10px; } }
@keyframes slide { to { margin-inline-start: 65%; } }
@media (max-width: 480px) { #actions button { flex: 1; } }
@media (prefers-reduced-motion) {
  * { animation: none !important; transition: none !important; }
  #bar:not([aria-valuenow]) i { inline-size: 100%; opacity: .4; }
}
@media (forced-colors: active) { #bar { border: 1px solid; } #bar i { background: Highlight; } }
`);

const ICONS = {
  get: "M8 2v8m0 0 3.2-3.2M8 10 4.8 6.8M2.5 11v1.5a1 1 0 0 0 1 1h9a1 1 0 0 0 1-1V11",
  close: "m4 4 8 8m0-8-8 8",
  stop: "M5 5h6v6H5z",
  erase: "M3 4.5h10m-6.5 0V3h3v1.5m2.2 0-.6 8.5H4.9l-.6-8.5",
};

/** Make an element; names with a hyphen are attributes, the others properties. */
function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

function icon(name) {
  const [svg, path] = ["svg", "path"].map((tag) =>
    document.createElementNS("http://www.w3.org/2000/svg", tag),
  );
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", true);
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

const spinner = (id) => make("span", { id, className: "spin", ariaHidden: true });

const isActive = (job) => /queued|running/.test(job?.status);

const pause = (ms, signal) =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
    addEventListener("online", resolve, { once: true, signal });
    signal.addEventListener("abort", resolve);
  });

/** Yield the id and the data of each server-sent event; `heard` is called for all that arrives. */
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
      const [id, data] = ["id", "data"].map((name) => block.match(`(?:^|\n)${name}: (.*)`)?.[1]);
      if (data) yield [id, data];
    }
  }
}

class AudienceExport extends HTMLElement {
  static observedAttributes = ["lang"];

  #ui = {}; // the parts of the page, by id
  #own = {}; // the page's texts
  #texts; // all texts
  #locale;
  #sources = ["follower", "customer", "affiliate"].map((key) => ({ key }));
  #total;
  #ticked = new Set(["follower"]);
  #past = [];
  #shown; // what the list shows, so that nothing is made anew under the pointer
  #job; // the export shown, as the service last described it
  #phase = ""; // what we are waiting for, as the name of its text
  #problem; // what went wrong, and how to try again: [text, again]
  #asking; // the id of the export that is to be erased, while we ask
  #key; // makes one export of a request that is sent again
  #token;
  #watch; // ends the following of the export shown
  #relist; // the timer of the list
  #streams = true;

  constructor() {
    super();
    this.attachShadow({ mode: "open" }).adoptedStyleSheets = [STYLE];
    this.#build();
  }

  connectedCallback() {
    if (Object.hasOwn(this, "messages")) {
      this.#own = this.messages; // set before the element was defined
      delete this.messages;
    }
    this.#speak();
    if (isActive(this.#job)) this.#follow(this.#job);
  }

  disconnectedCallback() {
    this.close();
    this.#watch?.abort();
  }

  attributeChangedCallback() {
    if (this.isConnected) this.#speak();
  }

  get messages() {
    return this.#own;
  }

  set messages(texts) {
    this.#own = texts ?? {};
    this.attributeChangedCallback();
  }

  open() {
    const { dialog, boxes } = this.#ui;
    if (dialog.open) return;
    this.#speak();
    dialog.showModal();
    boxes.querySelector("input").focus();
    this.#load();
  }

  close() {
    this.#ui.dialog.close();
  }

  // What is on the page.

  #build() {
    const text = (tag, name, more) => make(tag, { ...more, "data-say": name });
    const trigger = { type: "button", id: "trigger", part: "button", ariaHasPopup: "dialog" };
    const link = { id: "file", part: "file", onclick: (event) => this.#save(event, this.#job) };
    const main = { id: "download", part: "download", className: "main" };
    this.shadowRoot.append(
      make(
        "button",
        { ...trigger, onclick: () => this.open() },
        icon("get"),
        text("span", "export"),
        spinner("busy"),
      ),
      make(
        "dialog",
        { id: "dialog", part: "dialog", "aria-labelledby": "title", onclose: () => this.#closed() },
        make(
          "form",
          { onsubmit: (event) => this.#submit(event) },
          make(
            "header",
            {},
            text("h2", "title", { id: "title" }),
            make("p", { id: "reach" }),
            make(
              "button",
              { type: "button", id: "close", className: "icon", onclick: () => this.close() },
              icon("close"),
            ),
          ),
          make("fieldset", { id: "boxes", "aria-labelledby": "title", "aria-describedby": "reach" }),
          make(
            "div",
            { id: "progress" },
            make("div", { id: "bar", role: "progressbar", "aria-labelledby": "status" }, make("i", {})),
            make("span", { id: "percent", ariaHidden: true }),
          ),
          make("p", { id: "status", role: "status", ariaLive: "polite", tabIndex: -1 }),
          make("a", link, icon("get"), text("span", "downloadFile"), make("small", { id: "facts" })),
          make(
            "div",
            { id: "actions" },
            text("button", "stop", { type: "button", id: "stop", onclick: () => this.#end(this.#job) }),
            text("button", "retry", { type: "button", id: "retry", onclick: () => this.#again() }),
            make("button", main, spinner("sending"), text("span", "download")),
          ),
        ),
        make(
          "section",
          { id: "past", "aria-labelledby": "heading" },
          text("h3", "past", { id: "heading", tabIndex: -1 }),
          make("ul", { id: "list", "aria-labelledby": "heading" }),
        ),
      ),
    );
    for (const part of this.shadowRoot.querySelectorAll("[id]")) this.#ui[part.id] = part;
    const { dialog } = this.#ui;
    let isOutside; // pressed and released there: selecting text does not count
    dialog.onpointerdown = ({ target }) => void (isOutside = target === dialog);
    dialog.onclick = ({ target }) => void (isOutside && target === dialog && this.close());
  }

  /** Choose the language, and say everything again. */
  #speak() {
    const wanted = this.closest("[lang]")?.lang || navigator.language;
    const known = Object.keys(MESSAGES).find((tag) => tag.slice(0, 2) === wanted.slice(0, 2));
    this.#texts = { ...MESSAGES.en, ...MESSAGES[known], ...this.#own };
    try {
      [this.#locale] = Intl.getCanonicalLocales(known || this.#own.export ? wanted : "en");
    } catch {
      this.#locale = "en";
    }
    const { dialog, close } = this.#ui;
    dialog.lang = this.#locale;
    close.ariaLabel = close.title = this.#texts.close;
    for (const part of this.shadowRoot.querySelectorAll("[data-say]")) {
      part.textContent = this.#texts[part.dataset.say];
    }
    this.#showBoxes();
    this.#update();
  }

  #say(name, values = {}) {
    let text = this.#texts[name];
    if (text.other) text = text[new Intl.PluralRules(this.#locale).select(values.n)] ?? text.other;
    return text.replace(/{(\w+)}/g, (_, key) => (key === "n" ? this.#number(values.n) : values[key]));
  }

  #number(value, options) {
    return new Intl.NumberFormat(this.#locale, options).format(value);
  }

  #facts({ rows, bytes }) {
    const [unit, size] = bytes < 1e6 ? ["kilobyte", 1e3] : ["megabyte", 1e6];
    const style = { style: "unit", unit, maximumFractionDigits: 1 };
    return `${this.#say("rows", { n: rows })} · ${this.#number(bytes / size, style)}`;
  }

  /** A source's name: the page's, the language's, or the service's. */
  #sourceName(key) {
    const label = this.#sources.find((source) => source.key === key)?.label;
    const text = this.#texts[key];
    return (text !== MESSAGES.en[key] && text) || label || text || key;
  }

  /** Show the sources' boxes; those that are there stay, for a press on one may have begun. */
  #showBoxes() {
    const { boxes } = this.#ui;
    this.#shown = undefined; // names may have changed
    const rows = new Map([...boxes.children].map((row) => [row.control.name, row]));
    this.#sources.forEach(({ key, count }, index) => {
      const row = rows.get(key) ?? this.#box(key);
      rows.delete(key);
      const [, name, number] = row.children;
      name.textContent = this.#sourceName(key);
      number.textContent = count === undefined ? "" : this.#number(count);
      if (boxes.children[index] !== row) boxes.insertBefore(row, boxes.children[index]);
    });
    for (const row of rows.values()) row.remove();
  }

  #box(key) {
    const box = make("input", {
      type: "checkbox",
      name: key,
      checked: this.#ticked.has(key),
      onchange: () => this.#tick(key, box.checked),
      "aria-labelledby": `${key}-name`,
      "aria-describedby": `${key}-count`,
    });
    const [name, number] = ["name", "count"].map((of) => make("span", { id: `${key}-${of}` }));
    return make("label", {}, box, name, number);
  }

  #tick(key, isTicked) {
    this.#ticked[isTicked ? "add" : "delete"](key);
    this.#key = this.#problem = undefined;
    this.#update();
  }

  #selected() {
    return this.#sources.map(({ key }) => key).filter((key) => this.#ticked.has(key));
  }

  /** How many people the list will hold, as far as the counts can tell. */
  #reach() {
    const counts = this.#sources.map(({ key, count }) => [this.#ticked.has(key), count]);
    const [ticked, left] = [true, false].map((side) =>
      counts.filter(([isTicked, count]) => isTicked === side && count).map(([, count]) => count),
    );
    const sum = ticked.reduce((total, count) => total + count, 0);
    if (!sum) return "";
    const people = this.#say("people", { n: left.length ? Math.min(sum, this.#total) : this.#total });
    return left.length && ticked.length > 1 ? this.#say("upTo", { people }) : people;
  }

  #update() {
    const ui = this.#ui;
    const job = this.#job;
    const selected = this.#selected();
    const isRunning = isActive(job);
    const isSending = this.#phase === "sending";
    const isBusy = isSending || (isRunning && String(job.sources) === String(selected));
    ui.reach.textContent = this.#reach();
    ui.download.disabled = isBusy || !selected.length;
    ui.sending.hidden = !isBusy;
    ui.busy.hidden = ui.stop.hidden = ui.progress.hidden = !isRunning;
    ui.stop.disabled = this.#phase === "stopping";
    ui.retry.hidden = this.#phase || !(this.#problem || job?.status === "failed");
    ui.status.className = !ui.retry.hidden ? "failed" : job || this.#phase ? "" : "quiet";
    const text = this.#statusText(isRunning, selected);
    if (ui.status.textContent !== text) ui.status.textContent = text;
    if (isRunning) this.#showProgress(job.progress);
    ui.file.hidden = isSending || !job?.download_url;
    if (!ui.file.hidden) {
      ui.file.href = job.download_url;
      ui.facts.textContent = this.#facts(job.file);
    }
    this.#showPast();
  }

  #statusText(isRunning, selected) {
    const { status, recipient_email: email, error } = this.#job ?? {};
    if (this.#phase) return this.#say(this.#phase);
    if (this.#problem) return this.#problem[0];
    if (isRunning) return this.#say("active", { email });
    if (!selected.length) return this.#say("none");
    if (status === "succeeded") return this.#say("ready", { email });
    if (status !== "failed") return this.#say(status ?? "hint");
    const isEnglish = this.#texts.sorry === MESSAGES.en.sorry;
    return `${this.#texts.sorry} ${isEnglish ? error.detail : ""}`;
  }

  #showProgress({ rows_exported: done, rows_estimated: all }) {
    const { bar, percent } = this.#ui;
    const share = all && Math.min(done / all, 0.99);
    percent.textContent = share ? this.#number(share, { style: "percent" }) : "";
    bar.ariaValueNow = share ? Math.round(share * 100) : null;
    bar.firstChild.style.inlineSize = share ? `${share * 100}%` : "";
  }

  #showPast() {
    const { past, list, heading } = this.#ui;
    const focused = this.shadowRoot.activeElement?.dataset.of;
    const shown = this.#past.filter((job) => job.id !== this.#job?.id || !isActive(job));
    const state = JSON.stringify([this.#asking, shown]);
    if (state === this.#shown) return;
    this.#shown = state;
    past.hidden = !shown.length;
    list.replaceChildren(...shown.map((job) => this.#pastRow(job)));
    list.tabIndex = list.scrollHeight > list.clientHeight ? 0 : -1;
    if (focused) (list.querySelector(`[data-of="${focused}"]`) ?? heading).focus();
  }

  #pastRow(job) {
    const style = { dateStyle: "medium", timeStyle: "short" };
    const date = new Intl.DateTimeFormat(this.#locale, style).format(new Date(job.created_at));
    const names = new Intl.ListFormat(this.#locale, { style: "short", type: "unit" });
    const state = job.download_url ? this.#facts(job.file) : this.#say(job.status);
    const action = (tag, name, onclick, content, more) =>
      make(tag, { "data-of": name + job.id, onclick, ...more }, content);
    const sign = (tag, name, onclick, more) => {
      const label = `${this.#texts[name]} · ${date}`;
      const named = { className: "icon", title: label, ariaLabel: label };
      return action(tag, name, onclick, icon(name), { ...named, ...more });
    };
    if (this.#asking === job.id) {
      return make(
        "li",
        {},
        make("div", {}, this.#texts.eraseAsk),
        action("button", "sure", () => this.#end(job), this.#texts.erase, { className: "failed" }),
        action("button", "keep", () => this.#ask(), this.#texts.keep),
      );
    }
    const signs = isActive(job)
      ? [sign("button", "stop", () => this.#end(job))]
      : job.download_url
        ? [
            sign("a", "get", (event) => this.#save(event, job), { href: job.download_url }),
            sign("button", "erase", () => this.#ask(job.id)),
          ]
        : [];
    return make(
      "li",
      {},
      make(
        "div",
        {},
        names.format(job.sources.map((key) => this.#sourceName(key))),
        make("small", {}, `${date} · `, make("span", { className: job.status }, state)),
      ),
      ...signs,
    );
  }

  #ask(id) {
    const focus = id ? `keep${id}` : `erase${this.#asking}`;
    this.#asking = id;
    this.#showPast();
    this.#ui.list.querySelector(`[data-of="${focus}"]`)?.focus();
  }

  #closed() {
    clearTimeout(this.#relist);
    this.#problem = this.#asking = undefined;
    if (!isActive(this.#job)) this.#job = undefined;
    this.#update();
  }

  // What it does.

  /** Ask the service, with a new token once the old one has expired. */
  async #call(path, { headers, ...options } = {}) {
    const api = new URL(this.getAttribute("api") || new URL(".", import.meta.url), document.baseURI);
    for (let isFresh = false; ; isFresh = true) {
      const token = (this.#token ??= this.#askToken(isFresh));
      const answer = await fetch(api.href.replace(/\/*$/, path), {
        headers: { ...headers, Authorization: `Bearer ${await token}` },
        cache: "no-store",
        credentials: "omit",
        ...options,
      });
      if (answer.ok) return answer;
      if (answer.status !== 401 || isFresh) {
        const { detail } = await answer.json().catch(() => ({}));
        const { status } = answer;
        throw Object.assign(new Error(detail), { status, wait: answer.headers.get("Retry-After") });
      }
      if (this.#token === token) this.#token = undefined;
    }
  }

  async #askToken(isFresh) {
    try {
      return await this.getToken({ isFresh });
    } catch (error) {
      this.#token = undefined;
      throw error;
    }
  }

  async #json(path, options) {
    return (await this.#call(path, options)).json();
  }

  /** Do something that may go wrong; then say so, and offer to try again. */
  async #try(work, phase) {
    this.#problem = undefined;
    if (phase) this.#phase = phase;
    this.#update();
    try {
      await work();
    } catch (error) {
      this.#fail(error, () => this.#try(work, phase));
    }
    if (phase) this.#phase = "";
    this.#update();
  }

  #fail(error, again) {
    const { status, wait, message } = error;
    let text = status < 500 ? message : this.#texts.unreachable;
    if (status === 401 || status === 403) text = this.#texts.forbidden;
    if (status === 429) {
      const relative = new Intl.RelativeTimeFormat(this.#locale);
      text = this.#say("quota", { when: relative.format(Math.ceil(wait / 60), "minute") });
    }
    if (!status) console.warn("audience-export:", error);
    this.#problem = [text, again];
    this.#update();
  }

  #again() {
    this.#ui.status.focus();
    if (this.#problem) this.#problem[1]();
    else this.#start(this.#job.sources);
  }

  #load() {
    return this.#try(async () => {
      const [audience] = await Promise.all([this.#json("/audience"), this.#refresh()]);
      this.#sources = audience.sources;
      this.#total = audience.total;
      this.#showBoxes();
    });
  }

  /** Read the past exports; one that still runs is found, whoever asked for it. */
  async #refresh() {
    clearTimeout(this.#relist);
    this.#past = (await this.#json("/exports?limit=10")).items;
    const running = this.#past.filter(isActive);
    if (!this.#job && running.length) this.#follow(running[0]);
    this.#showPast();
    if (this.#ui.dialog.open && running.some(({ id }) => id !== this.#job?.id)) {
      this.#relist = setTimeout(() => this.#renew(), RELIST_MS);
    }
  }

  /** Read them where nobody waits for it: the next time may do as well. */
  #renew() {
    this.#refresh().catch(() => {});
  }

  #submit(event) {
    event.preventDefault();
    this.#start(this.#selected());
  }

  #start(sources) {
    this.#ui.status.focus();
    return this.#try(async () => {
      this.#key ??= crypto.getRandomValues(new Uint32Array(4)).join("-");
      const job = await this.#json("/exports", {
        method: "POST",
        headers: { "Content-Type": "application/json", "Idempotency-Key": this.#key },
        body: JSON.stringify(Object.fromEntries(sources.map((key) => [key, true]))),
      });
      this.#key = undefined;
      this.#tell("started", job);
      this.#follow(job);
      this.#renew();
    }, "sending");
  }

  /** Show an export until it has ended: by its events, or by asking where these do not come. */
  async #follow(first) {
    this.#watch?.abort();
    const { signal } = (this.#watch = new AbortController());
    const path = `/exports/${first.id}`;
    const seen = {};
    const show = (job, phase = "") => {
      if (signal.aborted) return;
      this.#job = job;
      this.#phase = phase;
      this.#update();
    };
    show(first);
    if (!this.isConnected) return;
    for (let delay_ms = RETRY_MS; isActive(this.#job) && !signal.aborted; ) {
      try {
        if (this.#streams) await this.#listen(path, seen, signal, show);
        if (isActive(this.#job)) show(await this.#json(`${path}?wait=${POLL_S}`, { signal }));
        delay_ms = RETRY_MS;
      } catch (error) {
        if (signal.aborted) return;
        if (error.status < 500) {
          show();
          return this.#fail(error, () => this.#load());
        }
        show(this.#job, "lost");
        await pause(delay_ms, signal);
        delay_ms = Math.min(2 * delay_ms, RETRY_MAX_MS);
      }
    }
    if (!signal.aborted) this.#ended();
  }

  /** Read the export's events until they end or break; what is wrong, the next question tells. */
  async #listen(path, seen, signal, show) {
    const stream = new AbortController();
    const abort = () => stream.abort();
    let timer = setTimeout(() => {
      this.#streams = false; // something on the way holds events back
      abort();
    }, FIRST_BYTE_MS);
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(abort, SILENCE_MS);
    };
    try {
      const answer = await this.#call(`${path}/events`, {
        headers: { Accept: "text/event-stream", ...seen },
        signal: AbortSignal.any([signal, stream.signal]),
      });
      for await (const [id, data] of eventsOf(answer, heard)) {
        seen["Last-Event-ID"] = id;
        show(JSON.parse(data));
      }
    } catch (error) {
      if (error.status < 500) this.#streams = false;
    }
    clearTimeout(timer);
    abort();
  }

  #ended() {
    const { status } = this.#job;
    const names = { succeeded: "finished", failed: "failed", cancelled: "cancelled" };
    if (names[status]) this.#tell(names[status], this.#job);
    if (this.#ui.dialog.open) this.#renew();
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(`export-${name}`, { detail, bubbles: true, composed: true }));
  }

  /** Download by an address made anew: the one at hand may have ended. */
  #save(event, { id }) {
    event.preventDefault();
    return this.#try(async () => {
      const job = await this.#json(`/exports/${id}`);
      if (this.#job?.id === id) this.#job = job;
      if (job.download_url) make("a", { href: job.download_url, rel: "noreferrer" }).click();
      else this.#renew();
    });
  }

  /** Stop an export, or erase its file. */
  #end(job) {
    const isShown = this.#job?.id === job.id;
    this.#asking = undefined;
    return this.#try(
      async () => {
        const ended = await this.#json(`/exports/${job.id}`, { method: "DELETE" });
        if (isShown) this.#job = ended;
        this.#renew();
      },
      isShown && isActive(job) && "stopping",
    );
  }
}

if (!customElements.get("audience-export")) customElements.define("audience-export", AudienceExport);
