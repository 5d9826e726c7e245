/** The dialog's parts, and what they need of each other and of the page. */

import { Client } from "./client.js";
import { Selection } from "./selection.js";
import { Session } from "./session.js";
import { View } from "./view.js";

export class App {
  selection = new Selection();
  session;
  #element;
  #refused = []; // names of tags
  #view;

  constructor(element, root, button) {
    this.#element = element;
    this.#view = new View(this, root, button);
    this.renew();
    this.localise();
  }

  get texts() {
    return this.#element.texts;
  }

  get api() {
    return this.#element.service;
  }

  /** The language of the page and the time zone of the browser, as the API's parameters. */
  get tags() {
    const locale = this.#element.tag;
    const { timeZone: timezone } = new Intl.DateTimeFormat().resolvedOptions();
    const tags = { ...(locale && { locale }), ...(timezone && { timezone }) };
    for (const name of this.#refused) delete tags[name];
    return tags;
  }

  /** Leave out what the service refuses, such as a new time zone; return whether it did. */
  refuse({ problem }) {
    const { tags } = this;
    const names = (problem?.errors ?? []).map(({ field }) => field).filter((name) => name in tags);
    this.#refused.push(...names);
    return names.length > 0;
  }

  get isOpen() {
    return this.#view.isOpen;
  }

  get isConnected() {
    return this.#element.isConnected;
  }

  getToken(options) {
    return this.#element.getToken(options);
  }

  /** Begin with another account: with `token`, or with the account that the next token names. */
  renew(token) {
    this.session?.end();
    this.selection.reset();
    this.session = new Session(this, new Client(this, token));
    this.render();
    if (this.isOpen) this.session.load();
  }

  open() {
    if (this.isOpen) return;
    this.#view.open();
    this.session.open();
  }

  close() {
    this.#view.close();
  }

  render() {
    this.#view.render();
  }

  localise() {
    this.#view.localise();
  }

  /** Return the sources' names, joined as the language does. */
  names(keys) {
    return this.texts.list(keys.map((key) => this.texts.name(key, this.selection.label(key))));
  }

  emit(name, detail) {
    const event = new CustomEvent(`export-${name}`, { detail, bubbles: true, composed: true });
    this.#element.dispatchEvent(event);
  }
}
