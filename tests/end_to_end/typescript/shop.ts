// What both programs share: settings, the request with every field, and the report for the test.

import codes from "./codes.json";

declare const process: { env: Record<string, string> };

export const { API_URL, SERVICE_TOKEN, SELLER_ID } = process.env;

/** Every `code` of a problem, as the keys of an object: the test writes them. */
export type Codes = keyof typeof codes;

/** `true` where both types have the same members; else no value fits. */
export type Same<A, B> = [A, B] extends [B, A] ? true : never;

export const everyField = {
  follower: true,
  customer: true,
  affiliate: true,
  columns: ["email" as const, "sources" as const],
  format: "csv" as const,
  delimiter: ";" as const,
  bom: false,
  spreadsheet_safe: true,
  locale: "de-AT",
  timezone: "Europe/Berlin",
  joined_after: "2024-01-01",
  joined_before: "2026-01-01T00:00:00+01:00",
  seller_id: Number(SELLER_ID),
  recipient_email: "seller@example.com",
};

/** One new follower, as a line of the feed. */
export const events = JSON.stringify({
  source: "follower",
  key: `f-${SELLER_ID}`,
  version: 1,
  seller_id: Number(SELLER_ID),
  row: { email: "ann@example.com", created_at: "2025-03-01T10:00:00Z", confirmed_at: "2025-03-01T10:00:00Z" },
});

/** Print what the test compares: the refusal's code and field, and the file of the export. */
export async function report(
  refused: { code: string; errors?: { field: string }[] },
  ended: { status: string; download_url: string | null },
): Promise<void> {
  const file = ended.download_url && (await (await fetch(ended.download_url)).text());
  const field = refused.errors?.[0]?.field;
  console.log(JSON.stringify({ code: refused.code, field, status: ended.status, file }));
}
