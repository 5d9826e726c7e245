// A service that answers in the page as a test says, since WebDriver intercepts no requests.

window.answers = {}; // by method and path: a document, or [status, document, headers], or a function of the request; null: none ever comes
window.gate = undefined; // a promise that answers wait for
window.requests = []; // those to the service, in order
window.saved = []; // the address and target of each link that the dialog followed
window.speed = 1; // how many times faster delays and time limits pass

const LONG_POLL_MS = 50;
const { fetch: send, setTimeout: wait } = window;

window.setTimeout = (run, ms, ...values) => wait(run, ms / window.speed, ...values);

HTMLAnchorElement.prototype.click = function () {
  saved.push([this.href, this.target]);
};

window.fetch = async (address, options = {}) => {
  const { origin, pathname, search } = new URL(address, location);
  if (origin === location.origin) return send(address, options);
  const past = search.includes("status=succeeded") ? "?past" : "";
  const name = `${options.method ?? "GET"} ${pathname}${past}`;
  const query = Object.fromEntries(new URLSearchParams(search));
  requests.push({ name, query, ...options, signal: undefined });
  if (search.includes("wait=")) await new Promise((resolve) => wait(resolve, LONG_POLL_MS));
  await window.gate;
  const found = name in answers ? answers[name] : [404, {}];
  const answer = typeof found === "function" ? found(options) : found;
  if (answer === null) {
    return new Promise((_, reject) => {
      options.signal.addEventListener("abort", () => reject(new DOMException("", "AbortError")));
    });
  }
  const [status, document, headers] = Array.isArray(answer) ? answer : [200, answer];
  return new Response(JSON.stringify(document), { status, headers });
};

const { searchParams } = new URL(location);

if (searchParams.has("sheets")) {
  delete Document.prototype.adoptedStyleSheets;
  delete ShadowRoot.prototype.adoptedStyleSheets;
  delete CSSStyleSheet.prototype.replaceSync;
}

if (searchParams.has("old")) {
  delete Object.hasOwn;
  delete AbortSignal.any;
  delete AbortSignal.timeout;
  delete Navigator.prototype.userActivation;
  const { replaceSync } = CSSStyleSheet.prototype;
  CSSStyleSheet.prototype.replaceSync = function (text) {
    replaceSync.call(this, text.replace(/light-dark\(|color-mix\(|dvh/g, "x-$&"));
  };
  for (const { prototype } of [Element, ElementInternals])
    for (const name of Object.getOwnPropertyNames(prototype))
      if (/^aria|^role$/.test(name)) delete prototype[name];
}
