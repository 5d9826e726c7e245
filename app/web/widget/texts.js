/** The texts, numbers and dates of one language. */

export const ENGLISH = {
  export: "Export",
  title: "Export audience",
  close: "Close",
  download: "Download",
  downloadFile: "Download file",
  retry: "Try again",
  cancel: "Cancel",
  get: "Get",
  delete: "Delete",
  keep: "Keep",
  follower: "Followers",
  customer: "Customers",
  affiliate: "Affiliates",
  people: { one: "{n} person", other: "{n} people" },
  upTo: "Up to {people}",
  what: "One {format} file with a row for each person; nobody is in it twice.",
  hint: "We will also email you a link. You may close this page meanwhile.",
  none: "Select at least one group.",
  nobody: "Nobody is in this selection, so there is nothing to export.",
  sending: "Preparing {names} …",
  active: "We will also email a link to {email}; you may close this page.",
  cancelling: "Cancelling …",
  ready: "{names}: the file is ready, and valid until {date}.",
  mailed: "We also email a link to {email}.",
  started: "The download has started.",
  sorry: "The export could not be made. Please try again.",
  lost: "Connection lost; the export goes on. Connecting again …",
  unreachable: "The service cannot be reached just now.",
  again: "Trying again …",
  forbidden: "You are not signed in, or may not do this.",
  quota: "That is too many exports at once. Please try again {when}.",
  quotaActive: "You have {n} exports in progress, the most at one time. Please try again when one has ended.",
  quotaHour: "You have made {n} exports within an hour, the most allowed. Please try again {when}.",
  long: "A spreadsheet shows only the first {n} rows of a CSV file.",
  refused: { one: "Mailing tools refuse {n} address.", other: "Mailing tools refuse {n} addresses." },
  past: "Past exports",
  all: "Show all",
  deleteAsk: "Delete this file? Links to it stop working too.",
  running: "In progress",
  cancelled: "Cancelled",
  expired: "Expired",
  deleted: "Deleted",
  options: "Options",
  format: "Format",
  csv: "CSV",
  xlsx: "Excel",
  from: "Joined from",
  until: "Joined until",
  badPeriod: "Enter whole dates, the earlier one first.",
  columns: "Further columns",
  sources: "Sources",
  since: "{name}: since",
  follower_since: "Follower since",
  customer_since: "Customer since",
  affiliate_since: "Affiliate since",
};

const LANGUAGES = { zh: "zh-CN", de: "de", es: "es", fr: "fr" };

/** Return the language module that fits a BCP 47 tag; none for Traditional Chinese. */
export const languageOf = (tag) =>
  /^zh\b.*-(hant|tw|hk|mo)\b/i.test(tag) && !/-hans\b/i.test(tag)
    ? undefined
    : LANGUAGES[tag.match(/^[a-z]+/i)?.[0].toLowerCase()];

export const load = async (language) => (await import(`./languages/${language}.js`)).default;

export class Texts {
  constructor(locale, ...texts) {
    this.locale = locale;
    this.messages = Object.assign({}, ENGLISH, ...texts);
  }

  get(name, values = {}) {
    let text = this.messages[name] ?? "";
    if (text.other) text = text[new Intl.PluralRules(this.locale).select(values.n)] ?? text.other;
    return text.replace(/{(\w+)}/g, (_, key) => (key === "n" ? this.number(values.n) : values[key]));
  }

  /** Return a source's name: the page's, the language's, or the service's `label`. */
  name(key, label) {
    const text = this.messages[key];
    return (text !== ENGLISH[key] && text) || label || text || key;
  }

  number(value, options) {
    return new Intl.NumberFormat(this.locale, options).format(value);
  }

  date(value, options) {
    return new Intl.DateTimeFormat(this.locale, options).format(new Date(value));
  }

  /** Return a date and time, with its year where it is another. */
  moment(value) {
    const year = new Date(value).getFullYear() === new Date().getFullYear() ? undefined : "numeric";
    return this.date(value, { year, month: "short", day: "numeric", hour: "numeric", minute: "2-digit" });
  }

  list(names) {
    return new Intl.ListFormat(this.locale, { type: "conjunction" }).format(names);
  }

  /** Return a file's people and size. */
  file({ rows, bytes }) {
    const [unit, size] = bytes < 1e6 ? ["kilobyte", 1e3] : ["megabyte", 1e6];
    const style = { style: "unit", unit, maximumFractionDigits: 1 };
    return `${this.get("people", { n: rows })} · ${this.number(bytes / size, style)}`;
  }

  /** Return the time in `wait_s` seconds, as "in 5 minutes (14:05)". */
  when(wait_s) {
    if (!(wait_s >= 0)) return "";
    const relative = new Intl.RelativeTimeFormat(this.locale).format(Math.ceil(wait_s / 60), "minute");
    return `${relative} (${this.date(Date.now() + wait_s * 1000, { timeStyle: "short" })})`;
  }

  /** Return what a failed request means to the seller; never empty. */
  error({ status, wait_s, problem = {} }) {
    if (status === 401 || status === 403) return this.get("forbidden");
    if (status === 429) {
      const name = { active_exports: "quotaActive", exports_per_hour: "quotaHour" }[problem.limit];
      return this.get(name ?? "quota", { n: problem.maximum, when: this.when(wait_s) });
    }
    if (!(status < 500)) return this.get("unreachable");
    return `${this.get("sorry")} ${problem.detail ?? ""}`.trim();
  }
}
