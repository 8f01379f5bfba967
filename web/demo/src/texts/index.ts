/** Texts of the page; those that it shares with the workbench are in the workbench's catalogue. */

import { defineTexts, type Keys } from "../../../src/i18n/catalogues";
import type english from "./en.json";

export type DemoKey = Keys<typeof english>;

export const { t: text, plural: pluralText } = defineTexts<typeof english>({
  en: () => import("./en.json"),
  zh: () => import("./zh.json"),
});
