import { beforeAll, describe, expect, it } from "vitest";

import { setLanguage, withFieldNames } from "../../src/i18n";

describe("withFieldNames", () => {
  beforeAll(() => setLanguage("en"));

  it("names fields of the page instead of arguments", () => {
    expect(withFieldNames("rename them, or map them with columns={'open': '…'}.")).toBe(
      "rename them, or choose them under “Columns”.",
    );
    expect(withFieldNames("drop one or pass columns=.")).toBe("drop one or choose it under “Columns”.");
    expect(withFieldNames("give the notation of its times as date_format=.")).toBe(
      "give the notation of its times as “Date format”.",
    );
  });

  it("leaves other text as it is", () => {
    expect(withFieldNames("the value a=b, and unknown=.")).toBe("the value a=b, and unknown=.");
  });
});
