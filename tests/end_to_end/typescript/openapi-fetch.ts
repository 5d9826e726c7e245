// A feed and a whole export with openapi-typescript's types and openapi-fetch.

import createClient from "openapi-fetch";

import type { components, paths } from "./schema";
import { API_URL, SERVICE_TOKEN, type Codes, everyField, events, report, type Same } from "./shop";

type ExportCreate = components["schemas"]["ExportCreate"];
type Problem = components["schemas"]["Problem"];

const everyCode: Same<Problem["code"], Codes> = true;
const body: Required<ExportCreate> = everyField;
// @ts-expect-error - no such column
const unknownColumn: ExportCreate = { columns: ["phone"] };

async function main(): Promise<void> {
  const headers = { Authorization: `Bearer ${SERVICE_TOKEN}` };
  const client = createClient<paths>({ baseUrl: API_URL, headers });
  await client.POST("/audience/events", {
    body: events,
    bodySerializer: (lines) => lines,
    headers: { "Content-Type": "application/x-ndjson" },
  });
  const { error } = await client.POST("/exports", { body: { ...body, recipient_email: null } });
  const problem: Problem = error!;
  const { data: created } = await client.POST("/exports", { body });
  const { data: ended } = await client.GET("/exports/{id}", {
    params: { path: { id: created!.id }, query: { wait: 30 } },
  });
  await report(problem, ended!);
}

void main();
