import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// The shipped page. Assets are files of their own, never inlined: the page's CSP allows no data: scripts or styles.
export default defineConfig({
  plugins: [svelte()],
  build: {
    outDir: "../allod/static",
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: { checks: { bundlerTimings: false } },
  },
  worker: { format: "es" },
});
