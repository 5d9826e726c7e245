/** What is selected: the sources, and how their file is written. */

const KEYS = ["follower", "customer", "affiliate"];
const STORE = "audience-export";
const PLAIN = ["email", "subscribed_at"];

export const CSV_ROWS_MAX = 1048575;
export const DAY_MAX = "9998-12-31";

/** Return the day after `day`, as `2026-11-30`. */
function after(day) {
  const next = new Date(`${day}T00:00Z`);
  next.setUTCDate(next.getUTCDate() + 1);
  return next.toISOString().slice(0, 10);
}

/** Return the day of an instant in a time zone; none where there is no instant or no such zone. */
function dayOf(instant, timeZone) {
  if (!instant) return "";
  try {
    const style = { timeZone, year: "numeric", month: "2-digit", day: "2-digit" };
    return new Intl.DateTimeFormat("fr-CA", style).format(new Date(instant));
  } catch {
    return "";
  }
}

/** Return what was stored on this device, as far as it can be used. */
function stored() {
  try {
    const { format, from, until, columns } = JSON.parse(localStorage[STORE]);
    return {
      ...(format === "xlsx" && { format }),
      ...(isDay(from) && { from }),
      ...(isDay(until) && { until }),
      columns: columns.filter((column) => typeof column === "string"),
    };
  } catch {
    return {}; // nothing, nonsense, or no storage
  }
}

const isDay = (day) => day === "" || (/^\d{4}-\d\d-\d\d$/.test(day) && day <= DAY_MAX);

export class Selection {
  sources; // as `GET /audience` answers; without counts at first
  total;
  options = { format: "csv", from: "", until: "", columns: [], ...stored() };
  isUntouched = true;
  #checked;

  constructor() {
    this.reset();
  }

  /** Forget the account's numbers and ticks. */
  reset() {
    this.sources = KEYS.map((key) => ({ key }));
    this.total = undefined;
    this.#checked = new Set(KEYS.slice(0, 1));
    this.isUntouched = true;
  }

  has(key) {
    return this.#checked.has(key);
  }

  toggle(key, isChecked) {
    this.#checked[isChecked ? "add" : "delete"](key);
    this.isUntouched = false;
  }

  /** Change an option, and remember all of them on this device. */
  set(options) {
    Object.assign(this.options, options);
    this.isUntouched = false;
    try {
      localStorage[STORE] = JSON.stringify(this.options);
    } catch {
      // no storage, or none left
    }
  }

  /** Select what an export was made of. */
  adopt({ sources, columns, format, timezone, joined_after: from, joined_before: before }) {
    this.#checked = new Set(sources);
    this.options = {
      format: format ?? "csv",
      from: dayOf(from, timezone),
      until: dayOf(before && Date.parse(before) - 1, timezone),
      columns: columns.filter((column) => !PLAIN.includes(column)),
    };
  }

  /** Return a source's name as the service gives it. */
  label(key) {
    return this.sources.find((source) => source.key === key)?.label;
  }

  keys() {
    return this.sources.map(({ key }) => key).filter((key) => this.has(key));
  }

  /** Return the further columns that exist for the selected sources. */
  further() {
    return ["sources", ...this.keys().map((key) => `${key}_since`)];
  }

  isPeriodValid() {
    const { from, until } = this.options;
    return isDay(from) && isDay(until) && (!from || !until || from <= until);
  }

  /** Return the period, if it is one, as the API's parameters. */
  #period() {
    const { from, until } = this.options;
    if (!this.isPeriodValid()) return {};
    return { ...(from && { joined_after: from }), ...(until && { joined_before: after(until) }) };
  }

  /** Return the query of `GET /audience`. */
  query(tags) {
    const parameters = { ...this.#period(), ...tags };
    return `?${new URLSearchParams(parameters)}`.replace(/\?$/, "");
  }

  /** Return the body of `POST /exports`; its JSON is what two selections are compared by. */
  body() {
    const { format, columns } = this.options;
    const further = this.further().filter((column) => columns.includes(column));
    return {
      ...Object.fromEntries(this.keys().map((key) => [key, true])),
      ...(further.length && { columns: [...PLAIN, ...further] }),
      ...(format !== "csv" && { format }),
      ...this.#period(),
    };
  }

  /**
   * Return the size of the selected audience and whether it is exact; undefined if unknown.
   *
   * With a period the total counts those who joined their first source of all in it, so that it
   * bounds no other selection than all sources.
   */
  reach() {
    const counted = this.sources.filter(({ count }) => count !== undefined);
    if (!counted.length) return undefined;
    const hasPeriod = Object.keys(this.#period()).length > 0;
    const chosen = counted.filter(({ key, count }) => this.has(key) && count);
    const left = counted.filter(({ key, count }) => !this.has(key) && (count || hasPeriod));
    const sum = chosen.reduce((total, { count }) => total + count, 0);
    if (sum && !left.length) return { n: this.total, isExact: true };
    return { n: hasPeriod ? sum : Math.min(sum, this.total), isExact: chosen.length < 2 };
  }

  isTooLong(rows) {
    return rows > CSV_ROWS_MAX && this.options.format === "csv";
  }
}
