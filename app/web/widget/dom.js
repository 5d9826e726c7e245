/** Elements and icons. */

const ICONS = {
  get: "M8 2v8m0 0 3.2-3.2M8 10 4.8 6.8M2.5 11v1.5a1 1 0 0 0 1 1h9a1 1 0 0 0 1-1V11",
  close: "m4 4 8 8m0-8-8 8",
  cancel: "M5 5h6v6H5z",
  delete: "M3 4.5h10m-6.5 0V3h3v1.5m2.2 0-.6 8.5H4.9l-.6-8.5",
  done: "m3 8.5 3.3 3.3L13 5",
  more: "m4 6 4 4 4-4",
};

/** Create an element; `role` and names with a hyphen are attributes, other names properties. */
export function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (/-|^role$/.test(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

export function icon(name, id = "") {
  const [svg, path] = ["svg", "path"].map((tag) =>
    document.createElementNS("http://www.w3.org/2000/svg", tag),
  );
  svg.id = id;
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", true);
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** Set a text only where it differs: screen readers speak a live region that is set again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Follow a link in a new tab, which a download closes again: no error replaces the page. */
export const save = (href) => make("a", { href, rel: "noreferrer", target: "_blank" }).click();
