import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// The shipped page. Assets are files of their own, never inlined: the page's CSP allows no data: scripts or styles.
export default defineConfig({
  plugins: [svelte()],
  build: {
    outDir: "../allod/static",
    emptyOutDir: true,
    manifest: true, // what a test reads the weight of each route from
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      checks: { bundlerTimings: false },
      // Hybrids of ML-KEM with P-256 and P-384 that are made while the noble library loads, and that nobody here uses.
      treeshake: { manualPureFunctions: ["QSF", "createKitchenSink", "ecdhKem"] },
    },
  },
  worker: { format: "es" },
});
