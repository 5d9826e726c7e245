/**
 * The custom element `<audience-export>`: the button, and what a page may set and call.
 *
 * The dialog's modules are loaded when somebody points at the button or presses it.
 */

import { Button } from "./button.js";
import { applyStyles } from "./styles.js";
import { languageOf, load, Texts } from "./texts.js";

export class AudienceExport extends HTMLElement {
  static observedAttributes = ["lang"];
  static service; // the API's URL, unless the page names another

  #root = this.attachShadow({ mode: "open" });
  #button = new Button(this);
  #module = "./app.js";
  #app; // the dialog, once it is loaded
  #loading; // its promise
  #isWanted = false; // whether it is to open when it is loaded
  #overrides = {}; // the texts that the page has set
  #language = []; // the language module in use: its name and texts
  #getToken;

  constructor() {
    super();
    applyStyles(this.#root);
    this.#root.append(...this.#button.elements);
  }

  connectedCallback() {
    for (const name of ["messages", "getToken"]) {
      const own = Object.getOwnPropertyDescriptor(this, name); // set before the element was defined
      if (own && delete this[name]) this[name] = own.value;
    }
    this.#localise();
    this.#app?.session.resume();
  }

  disconnectedCallback() {
    this.close();
    this.#app?.session.pause();
  }

  attributeChangedCallback() {
    if (this.isConnected) this.#localise();
  }

  get messages() {
    return this.#overrides;
  }

  set messages(texts) {
    this.#overrides = texts ?? {};
    this.attributeChangedCallback();
  }

  get getToken() {
    return this.#getToken;
  }

  set getToken(getToken) {
    if (getToken === this.#getToken) return;
    this.#getToken = getToken;
    this.#app?.renew();
  }

  async open() {
    this.#isWanted = true;
    this.#localise();
    const app = await this.preload().catch((error) => {
      console.warn("audience-export:", error);
      this.#button.show({ text: this.texts.get("unreachable"), isFailed: true });
    });
    if (app && this.#isWanted && this.isConnected) app.open();
  }

  close() {
    this.#isWanted = false;
    this.#app?.close();
  }

  /** Forget the account: close the dialog, and show nothing of the account any more. */
  reset() {
    this.close();
    this.#app?.renew();
  }

  /** Load the dialog. */
  preload() {
    this.#loading ??= import(this.#module).then(
      ({ App }) => (this.#app ??= new App(this, this.#root, this.#button)),
      (error) => {
        this.#loading = undefined;
        this.#module = `./app.js?${Date.now()}`; // Firefox never requests a URL that failed again
        throw error;
      },
    );
    return this.#loading;
  }

  /** The API's URL without a slash at its end. */
  get service() {
    const url = this.getAttribute("api") || AudienceExport.service;
    return new URL(url, document.baseURI).href.replace(/\/*$/, "");
  }

  /** Choose the language, load its texts, and render every text in it. */
  #localise() {
    const requested = this.closest("[lang]")?.lang || navigator.language;
    const language = languageOf(requested);
    if (language !== this.#language[0]) this.#loadLanguage(language);
    try {
      [this.tag] = Intl.getCanonicalLocales(requested);
    } catch {
      this.tag = undefined;
    }
    const isOwn = language || this.#overrides.export;
    this.texts = new Texts((isOwn && this.tag) || "en", this.#language[1], this.#overrides);
    this.#button.localise(this.texts);
    this.#app?.localise();
  }

  async #loadLanguage(language) {
    const loading = (this.#language = [language]);
    if (!language) return;
    loading[1] = await load(language).catch(() => undefined); // the texts stay English
    if (this.#language === loading && loading[1]) this.attributeChangedCallback();
  }
}
