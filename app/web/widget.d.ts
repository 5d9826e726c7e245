/** Types of widget.js: the export dialog as a custom element. */

/** An export, as `GET /exports/{id}` answers it. */
export interface AudienceExportJob {
  id: string;
  seller_id: number;
  status: "queued" | "running" | "succeeded" | "failed" | "cancelled" | "expired" | "deleted";
  sources: string[];
  columns: string[];
  spreadsheet_safe: boolean;
  bom: boolean;
  recipient_email: string;
  progress: { rows_exported: number; rows_estimated: number };
  file: { name: string; rows: number; bytes: number } | null;
  /** Opens in a browser without a token. */
  download_url: string | null;
  email: { status: "pending" | "sent" | "failed"; sent_at: string | null } | null;
  error: { code: string; detail: string } | null;
  created_at: string;
  started_at: string | null;
  snapshot_at: string | null;
  finished_at: string | null;
  expires_at: string | null;
}

/** A text for each plural category of the language (`Intl.PluralRules`); `{n}` is the number. */
export type AudienceExportPlural = { other: string } & Partial<
  Record<"zero" | "one" | "two" | "few" | "many", string>
>;

/** The texts; in braces what each may hold. */
export interface AudienceExportMessages {
  export: string;
  title: string;
  close: string;
  download: string;
  downloadFile: string;
  retry: string;
  stop: string;
  erase: string;
  get: string;
  keep: string;
  follower: string;
  customer: string;
  affiliate: string;
  /** `{n}` */
  people: string | AudienceExportPlural;
  /** `{people}` */
  upTo: string;
  /** `{n}` */
  rows: string | AudienceExportPlural;
  hint: string;
  none: string;
  sending: string;
  /** `{email}` */
  active: string;
  stopping: string;
  /** `{email}` */
  ready: string;
  sorry: string;
  lost: string;
  unreachable: string;
  forbidden: string;
  /** `{when}`, as in "in 5 minutes" */
  quota: string;
  past: string;
  eraseAsk: string;
  queued: string;
  running: string;
  failed: string;
  cancelled: string;
  expired: string;
  deleted: string;
}

/**
 * `<audience-export api="https://exports.example" lang="de">`
 *
 * `api` is where the service is; by default, where the module came from.
 * `lang`, on the element or around it, chooses the language: English, Chinese
 * (zh-CN), German, Spanish and French are there, others come by `messages`.
 */
export interface AudienceExportElement extends HTMLElement {
  /**
   * Return the seller's token. Asked once, and again with `isFresh` when the
   * service has refused the last one: then it must not come from a cache.
   */
  getToken: (wish: { isFresh: boolean }) => Promise<string>;
  /** The page's own texts; the others are the shipped ones. A new source's label has its key. */
  messages: Partial<AudienceExportMessages> & Record<string, string | AudienceExportPlural>;
  open(): void;
  close(): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "audience-export": AudienceExportElement;
  }
  /** These bubble; `detail` is the export. */
  interface HTMLElementEventMap {
    "export-started": CustomEvent<AudienceExportJob>;
    "export-finished": CustomEvent<AudienceExportJob>;
    "export-failed": CustomEvent<AudienceExportJob>;
    "export-cancelled": CustomEvent<AudienceExportJob>;
  }
}
