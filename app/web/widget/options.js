/** The disclosure "Options": format, period and further columns of the file. */

import { icon, make, setText } from "./dom.js";
import { DAY_MAX } from "./selection.js";

export class OptionsView {
  #app;
  #changed;
  #toggle;
  #panel;
  #formats = {};
  #days = {};
  #columns = make("div", { className: "choices" });
  element;

  constructor(app, changed) {
    this.#app = app;
    this.#changed = changed;
    this.#toggle = make(
      "button",
      {
        type: "button",
        id: "options",
        "aria-expanded": false,
        "aria-controls": "panel",
        onclick: () => this.#open(this.#panel.hidden),
      },
      make("span", { "data-message": "options" }),
      icon("more"),
    );
    const group = (name, content) =>
      make("fieldset", {}, make("legend", { "data-message": name }), content);
    const formats = make("div", { className: "choices" }, this.#format("csv"), this.#format("xlsx"));
    const days = make("div", { className: "choices" }, this.#day("from"), this.#day("until"));
    this.#panel = make(
      "div",
      { id: "panel", hidden: true },
      group("format", formats),
      days,
      group("columns", this.#columns),
    );
    this.element = make("div", { id: "more" }, this.#toggle, this.#panel);
    const { from, until } = app.selection.options;
    if (from || until) this.#open(true); // a period that was chosen before must be seen
  }

  #open(isOpen) {
    this.#panel.hidden = !isOpen;
    this.#toggle.setAttribute("aria-expanded", isOpen);
  }

  /** Return whether all dates are whole; if not, show the browser's hint beside the first that is not. */
  check() {
    const part = Object.values(this.#days).find((day) => day.validity.badInput);
    if (!part) return true;
    this.#open(true);
    return part.reportValidity();
  }

  #set(option) {
    this.#app.selection.set(option);
    this.#changed();
  }

  #format(name) {
    const radio = make("input", {
      type: "radio",
      name: "format",
      onchange: () => this.#set({ format: name }),
    });
    this.#formats[name] = radio;
    return make("label", {}, radio, make("span", { "data-message": name }));
  }

  #day(name) {
    const day = make("input", {
      type: "date",
      max: DAY_MAX,
      onchange: () => {
        this.#set({ [name]: day.value });
        this.#app.session.recount();
      },
    });
    this.#days[name] = day;
    return make("label", {}, make("span", { "data-message": name }), day);
  }

  render() {
    const { selection, texts } = this.#app;
    const { format, columns } = selection.options;
    for (const [name, radio] of Object.entries(this.#formats)) radio.checked = name === format;
    for (const [name, day] of Object.entries(this.#days)) {
      if (day.value !== selection.options[name]) day.value = selection.options[name];
    }
    const further = selection.further();
    const rows = new Map([...this.#columns.children].map((row) => [row.control.name, row]));
    further.forEach((column, index) => {
      const row = rows.get(column) ?? this.#column(column);
      rows.delete(column);
      const [box, name] = row.children;
      box.checked = columns.includes(column);
      const source = selection.label(column.replace(/_since$/, ""));
      setText(name, texts.messages[column] ?? texts.get("since", { name: source }));
      const next = this.#columns.children[index];
      if (next !== row) this.#columns.insertBefore(row, next ?? null);
    });
    for (const row of rows.values()) row.remove();
  }

  #column(column) {
    const box = make("input", {
      type: "checkbox",
      name: column,
      onchange: () => {
        const others = this.#app.selection.options.columns.filter((each) => each !== column);
        this.#set({ columns: box.checked ? [...others, column] : others });
      },
    });
    return make("label", {}, box, make("span", {}));
  }
}
