// A feed, a whole export and its events with the client of @hey-api/openapi-ts.

import { createExport, getExport, sendAudienceEvents, streamExportEvents } from "./client";
import { client } from "./client/client.gen";
import type { ExportCreate, Problem } from "./client";
import { API_URL, SERVICE_TOKEN, type Codes, everyField, events, report, type Same } from "./shop";

const everyCode: Same<Problem["code"], Codes> = true;
const body: Required<ExportCreate> = everyField;
// @ts-expect-error - no such column
const unknownColumn: ExportCreate = { columns: ["phone"] };

async function main(): Promise<void> {
  client.setConfig({ baseUrl: API_URL, auth: SERVICE_TOKEN });
  await sendAudienceEvents({ body: events, bodySerializer: null });
  const { error } = await createExport({ body: { ...body, recipient_email: null } });
  const problem: Problem = error!;
  const { data: created } = await createExport({ body });
  const { stream } = await streamExportEvents({ path: { id: created!.id } });
  for await (const _ of stream); // until the export has ended
  const { data: ended } = await getExport({ path: { id: created!.id } });
  await report(problem, ended!);
}

void main();
