/** The button on the page, which shows what happens while the dialog is closed. */

import { icon, make, setText } from "./dom.js";

export class Button {
  #label = make("span", {});
  #percent = make("span", {});
  #spin = make("i", { className: "spin" });
  #done = icon("done");
  #badge = make("span", { id: "badge", "aria-hidden": true }, this.#spin, this.#done, this.#percent);
  #notice = make("span", { id: "notice", "aria-live": "polite" });
  elements;

  constructor(element) {
    const preload = () => void element.preload().catch(() => {});
    const trigger = make(
      "button",
      {
        type: "button",
        id: "trigger",
        part: "button",
        "aria-haspopup": "dialog",
        "aria-describedby": "notice",
        onclick: () => element.open(),
        onpointerenter: preload,
        onfocus: preload,
      },
      icon("get"),
      this.#label,
      this.#badge,
    );
    this.elements = [trigger, this.#notice];
    this.show({});
  }

  localise(texts) {
    setText(this.#label, texts.get("export"));
  }

  /** Show an export in progress or ready; `text` is heard, and seen where it is a failure. */
  show({ isRunning = false, isReady = false, isFailed = false, percent = "", text = "" }) {
    this.#spin.hidden = !isRunning;
    this.#done.toggleAttribute("hidden", !isReady);
    this.#badge.hidden = !isRunning && !isReady;
    this.#notice.className = isFailed ? "failed" : "";
    setText(this.#percent, percent);
    setText(this.#notice, text);
  }
}
