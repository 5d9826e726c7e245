/** The service's API, called with the tokens of one account. */

const TIME_LIMIT_MS = 20000;
const POLL_S = 2;
const FIRST_BYTE_MS = 8000;
const SILENCE_MS = 40000;
const RETRY_MS = 500;
const RETRY_MAX_MS = 15000;

export const isActive = (job) => /queued|running/.test(job?.status);

/** Wait; less where the browser is online again or `signal` aborts. */
export const pause = (ms, signal) =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
    addEventListener("online", resolve, { once: true });
    signal.addEventListener("abort", resolve);
  });

/** Yield the delays of retries, in ms. */
export function* delays() {
  for (let ms = RETRY_MS; ; ms = Math.min(2 * ms, RETRY_MAX_MS)) yield ms;
}

/** Return an AbortController that aborts with `parent` too, and after the time that `limit` sets. */
export function deadline(parent, ms) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  let timer;
  controller.limit = (next) => {
    clearTimeout(timer);
    if (next) timer = setTimeout(abort, next);
  };
  controller.limit(ms);
  if (parent.aborted) abort();
  parent.addEventListener("abort", abort, { signal: controller.signal });
  return controller;
}

/** Return the seconds that a `Retry-After` header means: a number, or a date. */
const secondsOf = (header) =>
  header && (/^\d+$/.test(header) ? +header : Math.max(0, (Date.parse(header) - Date.now()) / 1000));

/** Return whose token it is: its seller, subject and address, or the token itself. */
function identityOf(token) {
  try {
    const claims = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    return JSON.stringify([claims.seller_id, claims.sub, claims.email]);
  } catch {
    return token;
  }
}

/** Yield the id and data of each server-sent event. */
async function* readEvents(answer, onChunk) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onChunk();
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const [id, data] = ["id", "data"].map((name) => block.match(`(?:^|\n)${name}: (.*)`)?.[1]);
      if (data) yield [id, data];
    }
  }
}

export class Client {
  #host; // with `api`, `getToken()` and `renew(token)`
  #ended = new AbortController();
  #token; // a promise
  #identity;
  #useEvents = true;
  isKnown = false; // whether a token of this opening is known to be the account's

  constructor(host, token) {
    this.#host = host;
    if (token) this.#token = this.#accept(token);
  }

  get signal() {
    return this.#ended.signal;
  }

  end() {
    this.#ended.abort();
  }

  /** Ask the page for a token again before the next request: it may be somebody else's. */
  forget() {
    this.#token = undefined;
    this.isKnown = false;
  }

  async #accept(token) {
    const identity = identityOf(token);
    if (this.signal.aborted) throw new Error("Reset");
    if ((this.#identity ??= identity) !== identity) {
      this.#host.renew(token);
      throw new Error("Another account");
    }
    this.isKnown = true;
    return token;
  }

  async #fetchToken(isFresh) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("getToken did not answer")), TIME_LIMIT_MS);
    });
    try {
      return await this.#accept(await Promise.race([this.#host.getToken({ isFresh }), late]));
    } catch (error) {
      this.#token = undefined;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Send a request; on 401 retry once with a new token. */
  async #send(path, { headers, ...options }) {
    for (let isFresh = false; ; isFresh = true) {
      const pending = (this.#token ??= this.#fetchToken(isFresh));
      const token = await pending;
      const answer = await fetch(this.#host.api + path, {
        headers: { ...headers, Authorization: `Bearer ${token}` },
        cache: "no-store",
        credentials: "omit",
        ...options,
      });
      if (answer.ok) return answer;
      if (answer.status !== 401 || isFresh) {
        const problem = await answer.json().catch(() => ({}));
        const wait_s = secondsOf(answer.headers.get("Retry-After"));
        throw Object.assign(new Error(problem.detail), { problem, status: answer.status, wait_s });
      }
      if (this.#token === pending) this.#token = undefined;
    }
  }

  /** Send a request and return the JSON of its answer, within a time limit. */
  async json(path, { signal = this.signal, ...options } = {}) {
    const limited = deadline(signal, TIME_LIMIT_MS);
    try {
      const answer = await this.#send(path, { ...options, signal: limited.signal });
      return await answer.json();
    } finally {
      limited.limit();
    }
  }

  /** Follow an export until it has ended, by its events or, where these fail, by long polling. */
  async follow(job, signal, show) {
    const path = `/exports/${job.id}`;
    const seen = {};
    let waits = delays();
    const note = (next) => {
      if (signal.aborted) return;
      job = next;
      show(job);
    };
    while (isActive(job) && !signal.aborted) {
      try {
        if (this.#useEvents) await this.#readEvents(path, seen, signal, note);
        if (isActive(job)) note(await this.json(`${path}?wait=${POLL_S}`, { signal }));
        waits = delays();
      } catch (error) {
        if (error.status < 500) throw error;
        if (signal.aborted) return;
        show(job, true);
        await pause(waits.next().value, signal);
      }
    }
  }

  /** Read the export's events until the stream ends; errors show in the next request. */
  async #readEvents(path, seen, signal, note) {
    const limited = deadline(signal, FIRST_BYTE_MS);
    let isSilent = true;
    const onChunk = () => {
      isSilent = false;
      limited.limit(SILENCE_MS);
    };
    try {
      const headers = { Accept: "text/event-stream", ...seen };
      const answer = await this.#send(`${path}/events`, { headers, signal: limited.signal });
      for await (const [id, data] of readEvents(answer, onChunk)) {
        seen["Last-Event-ID"] = id;
        note(JSON.parse(data));
      }
    } catch (error) {
      const isBuffered = isSilent && limited.signal.aborted && !signal.aborted;
      if (error.status < 500 || isBuffered) this.#useEvents = false;
    }
    limited.limit();
    limited.abort();
  }
}
