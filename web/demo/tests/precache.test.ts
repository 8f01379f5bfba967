import { describe, expect, it } from "vitest";

import { cacheName, fileOf, outdatedCaches } from "../offline/precache";

const SCOPE = "https://example.org/pages/kronos/";
const BUILD = { version: "2", files: { "index.html": "a", "static/a-1.js": "b" } };

describe("files of the service worker", () => {
  it("are found by their address, whatever follows it", () => {
    const name = (path: string): string | null => fileOf(new URL(path, SCOPE).href, SCOPE, BUILD);
    expect(name("")).toBe("index.html");
    expect(name("?lang=zh#main")).toBe("index.html");
    expect(name("static/a-1.js")).toBe("static/a-1.js");
    expect(name("static/b.js")).toBeNull();
    expect(name("../other/index.html")).toBeNull();
    expect(name("constructor")).toBeNull();
  });

  it("replace those of earlier builds at this place only", () => {
    const old = cacheName(SCOPE, "1");
    const others = [cacheName("https://example.org/pages/", "1"), "workbox"];
    expect(outdatedCaches([old, cacheName(SCOPE, "2"), ...others], SCOPE, "2")).toEqual([old]);
  });
});
