/** Types of widget.js: the export dialog as a custom element. */

/** An export, as returned by `GET /exports/{id}`. */
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
  file: {
    name: string;
    rows: number;
    bytes: number;
    /** What may keep people from being reached, such as addresses that mailing tools refuse. */
    warnings?: { code: string; count: number }[];
  } | null;
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

/** The texts; a comment names the placeholders that each may use. */
export interface AudienceExportMessages {
  export: string;
  title: string;
  close: string;
  download: string;
  downloadFile: string;
  retry: string;
  cancel: string;
  get: string;
  delete: string;
  keep: string;
  follower: string;
  customer: string;
  affiliate: string;
  /** `{n}` */
  people: string | AudienceExportPlural;
  /** `{people}` */
  upTo: string;
  /** `{format}` */
  what: string;
  hint: string;
  none: string;
  nobody: string;
  /** `{names}`, the groups, joined */
  sending: string;
  /** `{email}` */
  active: string;
  cancelling: string;
  /** `{date}`, `{names}`, the groups, joined */
  ready: string;
  /** `{email}` */
  mailed: string;
  started: string;
  sorry: string;
  lost: string;
  unreachable: string;
  again: string;
  forbidden: string;
  /** `{when}`, as in "in 5 minutes (14:05)" */
  quota: string;
  /** `{n}` */
  quotaActive: string;
  /** `{n}`, `{when}`, as in "in 5 minutes (14:05)" */
  quotaHour: string;
  /** `{n}` */
  long: string;
  /** `{n}` */
  refused: string | AudienceExportPlural;
  past: string;
  all: string;
  deleteAsk: string;
  running: string;
  cancelled: string;
  expired: string;
  deleted: string;
  options: string;
  format: string;
  csv: string;
  xlsx: string;
  from: string;
  until: string;
  badPeriod: string;
  columns: string;
  sources: string;
  /** `{name}` */
  since: string;
  follower_since: string;
  customer_since: string;
  affiliate_since: string;
}

/**
 * `<audience-export api="https://exports.example" lang="de">`
 *
 * `api` is the URL of the service; by default, the one that the module was loaded from.
 * `lang`, on the element or an ancestor, sets the language: English, Chinese (zh-CN),
 * German, Spanish and French are built in, others can be added by `messages`.
 */
export interface AudienceExportElement extends HTMLElement {
  /**
   * Return the seller's token. Called whenever the dialog is opened, and again with
   * `isFresh: true` when the service has refused the token: then return a new one, not a cached
   * one. A token of another seller or person empties the dialog, and so does another function.
   */
  getToken: (options: { isFresh: boolean }) => Promise<string>;
  /** Texts that replace the built-in ones. The label of a new source has the source's key. */
  messages: Partial<AudienceExportMessages> & Record<string, string | AudienceExportPlural>;
  open(): Promise<void>;
  close(): void;
  /** Close the dialog and forget everything of the account, as when its person signs out. */
  reset(): void;
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
