/** The dialog's styles. Plain values come first, modern ones under `@supports`. */

const STYLES = `
:host {
  display: inline-block;
  --bg: var(--audience-export-background, var(--bg-0, #fff));
  --fg: var(--audience-export-text, var(--fg-0, #16181d));
  --quiet: var(--audience-export-muted, var(--quiet-0, #59616d));
  --line: var(--audience-export-border, var(--line-0, #dfe2e8));
  --soft: var(--audience-export-soft, var(--soft-0, #f4f5f8));
  --accent: var(--audience-export-accent, var(--accent-0, #1d4ed8));
  --on: var(--audience-export-on-accent, var(--on-0, #fff));
  --bad: var(--audience-export-danger, var(--bad-0, #b42318));
  --round: var(--audience-export-radius, 10px);
  --gap: max(12px, 7vh);
  --full: 100vh;
}
@supports (height: 1dvh) { :host { --gap: max(12px, 7dvh); --full: 100dvh; } }
@supports (color: light-dark(#fff, #000)) {
  :host {
    --bg-0: light-dark(#fff, #1b1d23);
    --fg-0: light-dark(#16181d, #eceef2);
    --quiet-0: light-dark(#59616d, #a4abb6);
    --line-0: light-dark(#dfe2e8, #3a3e48);
    --soft-0: light-dark(#f4f5f8, #262930);
    --accent-0: light-dark(#1d4ed8, #8ab4ff);
    --on-0: light-dark(#fff, #0a1a3c);
    --bad-0: light-dark(#b42318, #ff9d93);
  }
}
@supports not (color: light-dark(#fff, #000)) { :host { color-scheme: light; } }
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
dialog button, input { font: inherit; }
button, a {
  display: inline-flex;
  align-items: center;
  justify-content: center;
  gap: 0 8px;
  min-height: 36px;
  padding: 6px 14px;
  border: 1px solid var(--line);
  border-radius: calc(var(--round) * .7);
  background: var(--bg);
  color: inherit;
  text-decoration: none;
  cursor: pointer;
}
button, a > span { font-weight: 600 !important; }
button:hover { background: var(--soft); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.main { background: var(--accent); border-color: transparent; color: var(--on); }
.main:hover { background: var(--accent); }
@supports (color: color-mix(in srgb, red, red)) { .main:hover { background: color-mix(in srgb, var(--accent) 88%, var(--fg)); } }
button:disabled { background: var(--soft) !important; border-color: var(--line); color: var(--quiet) !important; cursor: default; }
.icon { min-height: 32px; width: 32px; flex: none; padding: 0; border-color: transparent; background: none; color: var(--quiet); }
.icon:hover { background: var(--line); color: var(--fg); }
svg { width: 16px; height: 16px; flex: none; fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linecap: round; stroke-linejoin: round; }
.spin { width: 14px; height: 14px; flex: none; border: 2px solid; border-block-start-color: transparent; border-radius: 50%; animation: spin .8s linear infinite; }
#badge { display: inline-flex; align-items: center; gap: 6px; font-variant-numeric: tabular-nums; }
#notice:not(.failed) { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
dialog {
  width: min(420px, 100vw - 24px);
  max-height: calc(var(--full) - 2 * var(--gap));
  margin: var(--gap) auto auto;
  padding: 0;
  overflow: hidden;
  border: 1px solid var(--line);
  border-radius: calc(var(--round) * 1.4);
  background: var(--bg);
  box-shadow: 0 24px 60px -12px rgba(0, 0, 0, .4);
}
dialog[open] { display: flex; animation: rise .18s ease-out; }
dialog::backdrop { background: rgba(10, 13, 20, .45); }
form { display: flex; flex-direction: column; flex: 1; min-width: 0; }
#head, #foot { flex: none; padding: 14px 18px; }
#head { display: flex; align-items: start; justify-content: space-between; gap: 8px; padding-block-end: 10px; }
h2 { font-size: 18px; line-height: 1.3; }
p, h2, h3, output span, output strong, label span, li div, small { unicode-bidi: plaintext; text-align: start; }
small, h3, legend, label :last-child:not(:only-child) { color: var(--quiet); }
small, #reach, #percent, label :last-child { font-variant-numeric: tabular-nums; }
small, h3, legend, #percent { font-size: 13px; }
#close { margin-block: -3px; margin-inline-end: -8px; }
#body { overflow: auto; overscroll-behavior: contain; padding: 2px 18px 14px; }
#boxes { min-width: 0; padding: 0; border: 1px solid var(--line); border-radius: var(--round); overflow: hidden; }
label { display: flex; align-items: center; gap: 10px; cursor: pointer; }
#boxes label { padding: 9px 12px; }
#boxes label + label, li + li { border-block-start: 1px solid var(--line); }
#boxes label:hover { background: var(--soft); }
#boxes label :last-child { margin-inline-start: auto; white-space: nowrap; }
input { accent-color: var(--accent); }
input:not([type="date"]) { width: 17px; height: 17px; flex: none; }
input[type="date"] { width: 100%; min-height: 34px; padding: 4px 8px; border: 1px solid var(--quiet); border-radius: calc(var(--round) * .5); background: var(--bg); color: inherit; }
#options { min-height: 32px; margin: 8px 0 0 -10px; padding: 2px 10px; border-color: transparent; background: none; }
#options[aria-expanded="true"] svg { transform: scaleY(-1); }
#panel { display: grid; gap: 12px; padding: 6px 0 4px; }
#panel fieldset { min-width: 0; padding: 0; border: 0; }
#panel label > * { color: inherit; }
legend { padding: 0 0 4px; }
.choices { display: flex; flex-wrap: wrap; gap: 8px 20px; }
.choices:last-child:not(fieldset > div) { display: flex; }
#panel > .choices label { flex: 1 1 130px; flex-direction: column; align-items: stretch; gap: 4px; font-size: 13px; }
#past { margin: 12px -18px -14px; padding: 10px 18px; border-block-start: 1px solid var(--line); background: var(--soft); }
#list { padding: 0; list-style: none; }
li { display: flex; align-items: center; gap: 2px; min-height: 46px; padding: 4px 0; }
li div { flex: 1; min-width: 0; overflow-wrap: anywhere; }
small { display: block; }
li button:not(.icon), #all { min-height: 32px; padding: 2px 10px; }
li button:not(.icon) { margin-inline-start: 6px; }
#foot { display: grid; gap: 10px; border-block-start: 1px solid var(--line); }
output { display: grid; gap: 2px; overflow-wrap: anywhere; outline: none; }
output > :empty { display: none; }
#message, #warning { color: var(--quiet); }
#warning, .failed, .failed #message { color: var(--bad); }
#progress { display: flex; align-items: center; gap: 10px; }
#bar { flex: 1; height: 6px; border-radius: 3px; background: var(--line); overflow: hidden; }
#bar i { display: block; height: 100%; border-radius: inherit; background: var(--accent); transition: inline-size .5s; }
#bar:not([aria-valuenow]) i { width: 35%; animation: slide 1.4s ease-in-out infinite alternate; }
#actions { display: flex; flex-wrap: wrap; justify-content: end; gap: 8px; }
#file { flex-wrap: wrap; }
#file small { color: inherit; }
@keyframes spin { to { transform: rotate(1turn); } }
@keyframes rise { from { transform: translateY(10px); } }
@keyframes slide { to { margin-inline-start: 65%; } }
@media (max-width: 480px) {
  dialog { width: 100%; max-width: 100%; max-height: calc(var(--full) - 24px); margin: auto 0 0; border-width: 1px 0 0; border-end-start-radius: 0; border-end-end-radius: 0; }
  #actions > * { flex: 1; }
}
@media (max-height: 420px) { form { overflow: auto; } #head, #body, #foot { flex: none; } #body { overflow: visible; } }
@media (prefers-reduced-motion) {
  * { animation: none !important; transition: none !important; }
  #bar:not([aria-valuenow]) i { width: 100%; opacity: .4; }
}
@media (forced-colors: active) { #bar { border: 1px solid; } #bar i { background: Highlight; } }
`;

let sheet;

/** Style a shadow root; where sheets cannot be constructed (Safari 16.3), by a style element. */
export function applyStyles(root) {
  try {
    if (!sheet) {
      sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLES);
    }
    root.adoptedStyleSheets = [sheet];
    if (root.adoptedStyleSheets.length) return;
  } catch {
    // not known here
  }
  const style = document.createElement("style");
  style.textContent = STYLES;
  root.append(style);
}
