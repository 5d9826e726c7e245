/** The exports that still have a file, and those in progress beside the one shown. */

import { isActive } from "./client.js";
import { icon, make } from "./dom.js";

export class PastView {
  #app;
  #rendered; // the state as rendered
  #heading = make("h3", { id: "heading", tabIndex: -1, "data-message": "past" });
  #list = make("ul", { id: "list", role: "list", "aria-labelledby": "heading" });
  #all = make("button", {
    type: "button",
    id: "all",
    "data-message": "all",
    onclick: () => {
      this.#heading.focus();
      this.#app.session.showAll();
    },
  });
  element = make("section", { id: "past", "aria-labelledby": "heading" }, this.#heading, this.#list, this.#all);

  constructor(app) {
    this.#app = app;
  }

  /** Render again at the next change: the texts are others. */
  forget() {
    this.#rendered = undefined;
  }

  get isAsking() {
    return Boolean(this.#app.session.confirming);
  }

  render({ past, others, shown, confirming, hasMore, client }) {
    const jobs = client.isKnown ? [...others.filter(({ id }) => id !== shown?.job?.id), ...past] : [];
    const visible = ({ id, status, sources, created_at, format, file }) =>
      [id, status, sources, created_at, format, file];
    const state = JSON.stringify([confirming, hasMore, jobs.map(visible)]);
    if (state === this.#rendered) {
      // Presigned URLs differ in each response; a row made again would leave the pointer and the focus.
      for (const { id, download_url: url } of jobs) if (url) this.#find(`get${id}`)?.setAttribute("href", url);
      return;
    }
    this.#rendered = state;
    const { activeElement } = this.#list.getRootNode();
    const focused = this.#list.contains(activeElement) && activeElement.dataset.of;
    this.element.hidden = !jobs.length;
    this.#all.hidden = !hasMore;
    this.#list.replaceChildren(...jobs.map((job) => this.#row(job, job.id === confirming)));
    if (focused) (this.#find(focused) ?? this.#heading).focus();
  }

  #find(of) {
    return this.#list.querySelector(`[data-of="${of}"]`);
  }

  #row(job, isAsking) {
    const { session, texts } = this.#app;
    const { messages } = texts;
    const date = texts.moment(job.created_at);
    const names = this.#app.names(job.sources);
    const action = (tag, name, onclick, content, more) =>
      make(tag, { "data-of": name + job.id, onclick, ...(tag === "button" && { type: tag }), ...more }, content);
    const iconFor = (tag, name, onclick, more) => {
      const title = `${messages[name]} · ${names} · ${date}`;
      return action(tag, name, onclick, icon(name), { className: "icon", title, "aria-label": title, ...more });
    };
    if (isAsking) {
      return make(
        "li",
        {},
        make("div", { id: "ask" }, messages.deleteAsk),
        action("button", "sure", () => session.delete(job), messages.delete, {
          className: "failed",
          "aria-describedby": "ask",
        }),
        action("button", "keep", () => this.answer(), messages.keep),
      );
    }
    const isRunning = isActive(job);
    const excel = job.format === "xlsx" ? `${messages.xlsx} · ` : "";
    const state = isRunning ? messages.running : excel + texts.file(job.file);
    return make(
      "li",
      {},
      make("div", {}, names, make("small", {}, `${date} · ${state}`)),
      ...(isRunning
        ? [iconFor("button", "cancel", () => session.delete(job))]
        : [
            iconFor("a", "get", (event) => this.#get(event, job), { href: job.download_url }),
            iconFor("button", "delete", () => this.#ask(job.id)),
          ]),
    );
  }

  #get(event, job) {
    event.preventDefault();
    this.#app.session.download(job);
  }

  #ask(id) {
    this.#app.session.confirm(id);
    this.#find(`keep${id}`)?.focus();
  }

  /** Keep the file that was asked about. */
  answer() {
    const id = this.#app.session.confirming;
    this.#app.session.confirm();
    this.#find(`delete${id}`)?.focus();
  }
}
