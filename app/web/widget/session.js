/** One account's exports: what is read, started, followed, cancelled and deleted. */

import { deadline, delays, isActive, pause } from "./client.js";
import { save } from "./dom.js";

const RELIST_MS = 3000;
const AUTO_START_MS = 5000;
const READY_MS = 600000;
const PAST_SHOWN = 3;

/**
 * A run is an export of one selection: `of` (the selection's body as JSON), `job` (as of the last
 * response), and what happens to it: `isSending`, `isCancelling`, `isLost`, `isStarted` (its file).
 */
export class Session {
  run;
  problem; // the last failed action: { error, again }
  past = []; // exports that still have a file
  hasMore = false;
  others = []; // exports in progress
  confirming; // the id of the export whose deletion is to be confirmed
  #app;
  #following;
  #counting;
  #loading;
  #timer;

  constructor(app, client) {
    this.#app = app;
    this.client = client;
  }

  end() {
    this.client.end();
    this.pause();
  }

  /** Stop following; `resume` goes on. */
  pause() {
    clearTimeout(this.#timer);
    this.#following?.abort();
  }

  resume() {
    if (isActive(this.run?.job)) this.#follow(this.run);
  }

  get isEnded() {
    return this.client.signal.aborted;
  }

  /** The run of what is selected now; others go on unseen. */
  get shown() {
    const { run } = this;
    return run?.of === this.#of() && (run.isSending || this.client.isKnown) ? run : undefined;
  }

  #of() {
    return JSON.stringify(this.#app.selection.body());
  }

  /** Drop what belongs to another selection than the one there is now. */
  changed() {
    this.problem = this.confirming = undefined;
    if (this.run && !this.run.isSending && !isActive(this.run.job)) this.run = undefined;
    this.#app.render();
  }

  /** Begin an opening of the dialog, with a new token. */
  open() {
    const { run } = this;
    if (run?.endedAt < Date.now() - READY_MS) this.run = undefined;
    this.client.forget();
    this.#app.render(); // nothing of an account before it is known whose token this is
    return this.load();
  }

  close() {
    clearTimeout(this.#timer);
    this.problem = this.confirming = undefined;
    if (/failed|cancelled|deleted|expired/.test(this.run?.job?.status)) this.run = undefined;
    this.#app.render();
  }

  /** Read the counts and the exports, again and again while the service is unavailable. */
  async load() {
    const loading = (this.#loading = {});
    this.problem = undefined;
    for (const ms of delays()) {
      try {
        await Promise.all([this.count(), this.refresh()]);
        if (this.problem?.loading === loading) this.problem = undefined;
        break;
      } catch (error) {
        if (loading !== this.#loading || !this.#app.isOpen) return;
        this.#fail(error, () => this.load(), { loading });
        if (error.status < 500) return;
        await pause(ms, this.client.signal);
        if (loading !== this.#loading || !this.#app.isOpen) return;
      }
    }
    this.#app.render();
  }

  /** Read how many people there are; a later call replaces an earlier one. */
  async count() {
    this.#counting?.abort();
    const counting = (this.#counting = deadline(this.client.signal));
    const { selection } = this.#app;
    const { signal } = counting;
    const read = (tags) => this.client.json(`/audience${selection.query(tags)}`, { signal });
    const audience = await this.#tagged(read).catch((error) => {
      if (counting === this.#counting) throw error;
    });
    if (!audience || signal.aborted) return;
    Object.assign(selection, { sources: audience.sources, total: audience.total });
    this.#app.render();
  }

  /** Count again after a change of the period. */
  recount() {
    this.count().catch((error) => this.#fail(error, () => this.load()));
  }

  /** Read the exports, and show one in progress, of any session, if nothing was selected yet. */
  async refresh(limit = this.past.length > PAST_SHOWN ? 100 : PAST_SHOWN) {
    clearTimeout(this.#timer);
    const [newest, ready] = await Promise.all([
      this.client.json("/exports?limit=10"),
      this.client.json(`/exports?status=succeeded&limit=${limit}`),
    ]);
    if (this.isEnded) return;
    this.past = ready.items.filter((job) => job.download_url);
    this.hasMore = Boolean(ready.next_cursor) && limit === PAST_SHOWN;
    this.others = newest.items.filter(isActive);
    const { selection, isOpen } = this.#app;
    if (!this.run && this.others.length && selection.isUntouched) {
      selection.adopt(this.others[0]);
      this.recount();
      this.#follow((this.run = { of: this.#of(), job: this.others[0] }));
    }
    this.#app.render();
    if (isOpen && this.others.some(({ id }) => id !== this.run?.job?.id)) {
      this.#timer = setTimeout(() => this.reload(), RELIST_MS);
    }
  }

  showAll() {
    this.#try(() => this.refresh(100));
  }

  /** Refresh in the background; an error is ignored until the next refresh. */
  reload() {
    this.refresh().catch(() => {});
  }

  /** Start an export of the selection; `key` is the same for each retry of a request. */
  async start(key = crypto.getRandomValues(new Uint32Array(4)).join("-")) {
    const body = this.#app.selection.body();
    const run = { of: JSON.stringify(body), isSending: true, startedAt: Date.now() };
    this.#following?.abort();
    this.run = run;
    this.problem = undefined;
    this.#app.render();
    try {
      const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
      run.job = await this.#tagged((tags) =>
        this.client.json("/exports", { method: "POST", headers, body: JSON.stringify({ ...body, ...tags }) }),
      );
    } catch (error) {
      const { shown } = this;
      if (this.run === run) this.run = undefined;
      if (shown === run) this.#fail(error, () => this.start(key));
      return;
    }
    if (this.isEnded) return;
    run.isSending = false;
    this.#app.emit("started", run.job);
    if (this.run === run) this.#follow(run);
    if (run.isCancelling) this.cancel(run);
    this.reload();
  }

  async #follow(run) {
    this.#following?.abort();
    const { signal } = (this.#following = deadline(this.client.signal));
    this.#app.render();
    if (!this.#app.isConnected) return;
    const show = (job, isLost = false) => {
      Object.assign(run, { job, isLost });
      this.#app.render();
    };
    try {
      await this.client.follow(run.job, signal, show);
    } catch (error) {
      if (signal.aborted) return;
      this.run = undefined;
      return this.#fail(error, () => this.load());
    }
    if (!signal.aborted) this.#finish(run);
  }

  #finish(run) {
    const { job } = run;
    const { isOpen } = this.#app;
    const event = { succeeded: "finished", failed: "failed", cancelled: "cancelled" }[job.status];
    const isQuick = Date.now() - run.startedAt < AUTO_START_MS;
    const { shown } = this;
    run.endedAt = Date.now();
    run.isCancelling = false;
    if (this.run === run && shown !== run) this.run = undefined;
    // Without a recent press a browser blocks the new tab that keeps errors off this page.
    if (isQuick && isOpen && shown === run && job.download_url && navigator.userActivation?.isActive) {
      run.isStarted = true;
      save(job.download_url);
    }
    this.#app.render();
    if (event) this.#app.emit(event, job);
    if (isOpen) this.reload();
  }

  /** Download from a new URL, since the one at hand may have expired or its file be deleted. */
  download(job) {
    return this.#try(async () => {
      const fresh = await this.client.json(`/exports/${job.id}`);
      this.#replace(fresh);
      if (fresh.download_url) save(fresh.download_url);
      else this.reload();
    });
  }

  /** Cancel a run; one that is being sent is cancelled as soon as it has an answer. */
  async cancel(run) {
    run.isCancelling = true;
    if (!run.isSending) await this.delete(run.job);
    if (this.problem) run.isCancelling = false;
    this.#app.render();
  }

  confirm(id) {
    this.confirming = id;
    this.#app.render();
  }

  /** Cancel an export or delete its file. */
  delete(job) {
    this.confirming = undefined;
    return this.#try(async () => {
      this.#replace(await this.client.json(`/exports/${job.id}`, { method: "DELETE" }));
      this.reload();
    });
  }

  #replace(job) {
    if (this.run?.job?.id === job.id) this.run.job = job;
  }

  retry() {
    if (this.problem) this.problem.again();
    else this.start();
  }

  /** Send a request with the page's language and the browser's zone, or without those refused. */
  async #tagged(send) {
    try {
      return await send(this.#app.tags);
    } catch (error) {
      if (!this.#app.refuse(error)) throw error;
      return send(this.#app.tags);
    }
  }

  /** Run an action; on an error show it with a button that retries. */
  async #try(work) {
    this.problem = undefined;
    this.#app.render();
    try {
      await work();
    } catch (error) {
      this.#fail(error, () => this.#try(work));
    }
    if (!this.isEnded) this.#app.render();
  }

  #fail(error, again, more) {
    if (this.isEnded) return;
    if (!error.status) console.warn("audience-export:", error);
    this.problem = { error, again, ...more };
    this.#app.render();
  }
}
