/** The dialog: what it shows of the session and the selection. */

import { isActive } from "./client.js";
import { icon, make, setText } from "./dom.js";
import { OptionsView } from "./options.js";
import { PastView } from "./past.js";
import { CSV_ROWS_MAX } from "./selection.js";

export class View {
  #app;
  #root;
  #button;
  #ui = {}; // the elements of the shadow root, by id
  #options;
  #past;

  constructor(app, root, button) {
    this.#app = app;
    this.#root = root;
    this.#button = button;
    const changed = () => this.#app.session.changed();
    this.#options = new OptionsView(app, changed);
    this.#past = new PastView(app);
    root.append(this.#dialog());
    for (const part of root.querySelectorAll("[id]")) this.#ui[part.id] = part;
  }

  get isOpen() {
    return this.#ui.dialog.open;
  }

  open() {
    this.#ui.dialog.showModal(); // focuses the first box, which has `autofocus`
    this.render();
  }

  close() {
    this.#ui.dialog.close();
  }

  #dialog() {
    const text = (tag, name, more) => make(tag, { ...more, "data-message": name });
    const button = (name, onclick) => text("button", name, { type: "button", id: name, onclick });
    const dialog = make(
      "dialog",
      { id: "dialog", part: "dialog", "aria-labelledby": "title" },
      make(
        "form",
        { noValidate: true, onsubmit: (event) => this.#submit(event) },
        make(
          "div",
          { id: "head" },
          text("h2", "title", { id: "title" }),
          make(
            "button",
            { type: "button", id: "close", className: "icon", onclick: () => this.close() },
            icon("close"),
          ),
        ),
        make(
          "div",
          { id: "body" },
          make("fieldset", { id: "boxes", "aria-labelledby": "title", "aria-describedby": "reach" }),
          this.#options.element,
          this.#past.element,
        ),
        make(
          "div",
          { id: "foot" },
          make(
            "output",
            { id: "status", role: "status", "aria-live": "polite", "aria-atomic": false, tabIndex: -1 },
            make("strong", { id: "reach" }),
            make("span", { id: "message" }),
            make("span", { id: "warning" }),
          ),
          make(
            "div",
            { id: "progress" },
            make("div", { id: "bar", role: "progressbar", "aria-labelledby": "message" }, make("i", {})),
            make("span", { id: "percent", "aria-hidden": true }),
          ),
          make(
            "div",
            { id: "actions" },
            button("cancel", (event) => this.#cancel(event)),
            button("retry", () => this.#act(() => this.#app.session.retry())),
            text("button", "download", { id: "download", part: "download", className: "main" }),
            make(
              "a",
              { id: "file", part: "file", className: "main", onclick: (event) => this.#save(event) },
              icon("get"),
              text("span", "downloadFile"),
              make("small", { id: "facts" }),
            ),
          ),
        ),
      ),
    );
    dialog.onclose = () => this.#app.session.close();
    dialog.oncancel = (event) => {
      if (!this.#past.isAsking) return;
      event.preventDefault(); // Escape answers the question
      this.#past.answer();
    };
    // Close only if also pressed outside: text selection may end there, and so may a double click
    // on the button, whose second press has a `detail` of 2.
    let isOutside;
    dialog.onmousedown = ({ target, detail }) => void (isOutside = target === dialog && detail < 2);
    dialog.onclick = ({ target }) => void (isOutside && target === dialog && this.close());
    return dialog;
  }

  #submit(event) {
    event.preventDefault();
    const { download } = this.#ui;
    if (download.hidden || download.disabled || !this.#options.check()) return;
    this.#act(() => this.#app.session.start());
  }

  /** Run an action whose button may go away: the focus goes to the status. */
  #act(action) {
    this.#ui.status.focus();
    action();
  }

  /** Cancel, unless the press is the second of a double click on Download. */
  #cancel(event) {
    if (event.detail > 1) return;
    this.#act(() => this.#app.session.cancel(this.#app.session.shown));
  }

  #save(event) {
    event.preventDefault();
    this.#app.session.download(this.#app.session.shown.job);
  }

  /** Render every text in the language of `app.texts`. */
  localise() {
    const { messages, locale } = this.#app.texts;
    const { dialog, close } = this.#ui;
    dialog.lang = locale;
    close.title = messages.close;
    close.setAttribute("aria-label", messages.close);
    for (const part of this.#root.querySelectorAll("[data-message]")) {
      setText(part, messages[part.dataset.message]);
    }
    this.#past.forget();
    this.render();
  }

  render() {
    const { session, selection } = this.#app;
    if (!session) return;
    const hadFocus = this.isOpen && this.#root.activeElement;
    this.#showBoxes();
    this.#options.render();
    this.#showButton(session.run);
    this.#showFoot(session, selection);
    this.#past.render(session);
    // What had the focus may be gone, hidden or disabled: it must not fall to the page behind.
    const { activeElement: now } = this.#root;
    if (hadFocus && (!now?.getClientRects().length || now.disabled)) this.#ui.status.focus();
  }

  /** Render the checkboxes; keep existing ones, since the user may be pressing one. */
  #showBoxes() {
    const { boxes } = this.#ui;
    const { session, selection, texts } = this.#app;
    const rows = new Map([...boxes.children].map((row) => [row.control.name, row]));
    selection.sources.forEach(({ key, label, count }, index) => {
      const row = rows.get(key) ?? this.#createBox(key, !index);
      rows.delete(key);
      const [box, name, number] = row.children;
      box.checked = selection.has(key);
      setText(name, texts.name(key, label));
      setText(number, count === undefined || !session.client.isKnown ? "" : texts.number(count));
      if (boxes.children[index] !== row) boxes.insertBefore(row, boxes.children[index] ?? null);
    });
    for (const row of rows.values()) row.remove();
  }

  #createBox(key, isFirst) {
    const box = make("input", {
      type: "checkbox",
      name: key,
      autofocus: isFirst,
      "aria-labelledby": `${key}-name`,
      "aria-describedby": `${key}-count`,
      onchange: () => {
        this.#app.selection.toggle(key, box.checked);
        this.#app.session.changed();
      },
    });
    const [name, number] = ["name", "count"].map((of) => make("span", { id: `${key}-${of}` }));
    return make("label", {}, box, name, number);
  }

  /** Show on the button what happens while the dialog is closed. */
  #showButton(run) {
    const isRunning = Boolean(run?.isSending) || isActive(run?.job);
    const isReady = run?.job?.status === "succeeded";
    const text = run && !this.isOpen ? this.#state(run) : "";
    this.#button.show({ isRunning, isReady, percent: this.#percent(run), text });
  }

  #share({ job } = {}) {
    if (!isActive(job)) return undefined;
    const { rows_exported: done, rows_estimated: all } = job.progress;
    return done && done < all ? done / all : undefined;
  }

  #percent(run) {
    const share = this.#share(run);
    return share ? this.#app.texts.number(Math.floor(share * 100) / 100, { style: "percent" }) : "";
  }

  #showFoot(session, selection) {
    const ui = this.#ui;
    const { shown, problem } = session;
    const job = shown?.job;
    const isRunning = shown?.isSending || isActive(job);
    const isReady = Boolean(job?.download_url);
    const isWrong = !isRunning && (problem || job?.status === "failed");
    const reach = session.client.isKnown ? selection.reach() : undefined;
    const canStart = selection.keys().length && selection.isPeriodValid() && reach?.n !== 0;
    setText(ui.reach, this.#reach(reach));
    setText(ui.message, this.#message(shown, problem, reach));
    setText(ui.warning, this.#warning(job?.file, reach));
    ui.status.className = isWrong ? "failed" : "";
    ui.progress.hidden = !isActive(job);
    if (isActive(job)) this.#showProgress(shown);
    ui.cancel.hidden = !isRunning;
    ui.cancel.disabled = Boolean(shown?.isCancelling);
    ui.retry.hidden = !isWrong;
    ui.download.hidden = isRunning || isReady || isWrong;
    ui.download.disabled = !canStart;
    ui.file.hidden = !isReady;
    if (isReady) {
      ui.file.href = job.download_url;
      setText(ui.facts, this.#app.texts.file(job.file));
    }
  }

  #reach(reach) {
    if (!reach?.n) return "";
    const people = this.#app.texts.get("people", { n: reach.n });
    return reach.isExact ? people : this.#app.texts.get("upTo", { people });
  }

  #warning(file, reach) {
    const { texts, selection } = this.#app;
    const rows = file?.rows ?? reach?.n;
    const refused = file?.warnings?.find(({ code }) => code === "addresses_refused")?.count;
    return [
      selection.isTooLong(rows) && texts.get("long", { n: CSV_ROWS_MAX }),
      refused && texts.get("refused", { n: refused }),
    ].filter(Boolean).join(" ");
  }

  /** Return what happens next. */
  #message(run, problem, reach) {
    const { texts, selection } = this.#app;
    if (problem) {
      const again = problem.loading && !(problem.error.status < 500) ? texts.get("again") : "";
      return `${texts.error(problem.error)} ${again}`.trim();
    }
    if (run) return this.#state(run);
    if (!selection.keys().length) return texts.get("none");
    if (!selection.isPeriodValid()) return texts.get("badPeriod");
    if (reach?.n === 0) return texts.get("nobody");
    const format = texts.get(selection.options.format);
    return `${texts.get("what", { format })} ${texts.get("hint")}`;
  }

  /** Return the state of a run. */
  #state({ isSending, isCancelling, isLost, isStarted, job }) {
    const { texts, selection } = this.#app;
    const names = this.#app.names(job?.sources ?? selection.keys());
    const email = job?.recipient_email;
    if (isCancelling) return texts.get("cancelling");
    if (isLost) return texts.get("lost");
    if (isSending) return texts.get("sending", { names });
    if (isActive(job)) return `${texts.get("sending", { names })} ${texts.get("active", { email })}`;
    if (job.status === "failed") return texts.get("sorry");
    if (!job.download_url) return texts.get(job.status);
    const date = texts.date(job.expires_at, { day: "numeric", month: "long" });
    return [
      texts.get("ready", { names, date }),
      isStarted && texts.get("started"),
      job.email && texts.get("mailed", { email }),
    ].filter(Boolean).join(" ");
  }

  #showProgress(run) {
    const { bar, percent } = this.#ui;
    const share = this.#share(run);
    setText(percent, this.#percent(run));
    if (share) bar.setAttribute("aria-valuenow", Math.floor(share * 100));
    else bar.removeAttribute("aria-valuenow");
    bar.firstChild.style.inlineSize = share ? `${share * 100}%` : "";
  }
}
