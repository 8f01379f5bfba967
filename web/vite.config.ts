import { defineConfig } from "vitest/config";

// The build goes into the Python package, which serves it: hashed names, relative addresses (a proxy may add a path
// prefix), no inline scripts or styles (the server's Content-Security-Policy forbids them).
export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/kronos/serve/assets",
    emptyOutDir: true,
    target: "es2022",
    assetsDir: "static",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // The chart with its library; the vector picture, which few ask for, is loaded when they do.
    rolldownOptions: {
      output: {
        codeSplitting: {
          groups: [{ name: "chart", test: /lightweight-charts|fancy-canvas|src.chart.(?!svg|vector)/ }],
        },
      },
    },
  },
  server: { proxy: { "/api": "http://127.0.0.1:5000" } },
  test: {
    include: ["tests/**/*.test.ts", "browser/tests/**/*.test.ts", "demo/tests/**/*.test.ts"],
    alias: { "@kronos-forecast/browser": new URL("browser/src/index.ts", import.meta.url).pathname },
    environment: "node",
  },
});
