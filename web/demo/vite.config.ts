import { fileURLToPath } from "node:url";

import { defineConfig } from "vite";

import { precacheList } from "./precache_plugin.ts";

const SERVICE_WORKER = "service_worker";

function path(relative: string): string {
  return fileURLToPath(new URL(relative, import.meta.url));
}

// A static site that works under any path: relative addresses, hashed names, no inline scripts or styles. The service
// worker lies at the root with a fixed name, because its place decides which pages it serves.
export default defineConfig({
  base: "./",
  // The model and the sample, which web/demo_page.py puts there.
  publicDir: process.env["KRONOS_DEMO_FILES"] ?? false,
  resolve: { alias: { "@kronos-forecast/browser": path("../browser/src/index.ts") } },
  plugins: [precacheList(`${SERVICE_WORKER}.js`)],
  worker: { format: "es" },
  build: {
    outDir: path("../../out/demo-page"),
    emptyOutDir: true,
    target: "es2022",
    assetsDir: "static",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: { index: path("index.html"), [SERVICE_WORKER]: path(`offline/${SERVICE_WORKER}.ts`) },
      output: {
        entryFileNames: ({ name }) => (name === SERVICE_WORKER ? "[name].js" : "static/[name]-[hash].js"),
      },
    },
  },
});
