/**
 * The export dialog as a custom element: <audience-export api="https://exports.example">.
 *
 * The page sets the property `getToken`; everything else is optional. See widget.d.ts.
 */

import { AudienceExport } from "./widget/element.js";

AudienceExport.service = new URL(".", import.meta.url);

if (!customElements.get("audience-export")) customElements.define("audience-export", AudienceExport);
