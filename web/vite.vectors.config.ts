import { defineConfig } from "vite";

// The page on which the tests run the vectors in a browser; it is not part of what is shipped.
export default defineConfig({
  root: "vectors",
  build: {
    outDir: "../build/vectors",
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: { input: "vectors/vectors.html", checks: { bundlerTimings: false } },
  },
  worker: { format: "es" },
});
