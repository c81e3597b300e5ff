import { defineConfig } from "vite";

import page from "./vite.config.ts";

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
    // Shaken like the page, so that the vectors run over what is shipped.
    rolldownOptions: { ...page.build?.rolldownOptions, input: "vectors/vectors.html" },
  },
  worker: { format: "es" },
});
