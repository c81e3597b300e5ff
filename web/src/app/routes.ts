/** Every screen there is. The order is the navigation's. */

import type { Screen } from "./router.svelte.ts";

/** One screen under two paths: it stays as it is when the path changes from one to the other. */
const verify: Screen["load"] = () => import("./screens/Verify.svelte");

export const screens: readonly Screen[] = [
  { path: "/files", title: "Files", owner: true, load: () => import("./screens/Files.svelte") },
  { path: "/files/:id", title: "Preview", owner: true, load: () => import("./screens/Preview.svelte") },
  { path: "/upload", title: "Upload", owner: true, load: () => import("./screens/Upload.svelte") },
  { path: "/offer", title: "Offer", owner: true, load: () => import("./screens/Offer.svelte") },
  { path: "/requests", title: "Requests", owner: true, load: () => import("./screens/Requests.svelte") },
  { path: "/consents", title: "Consents", owner: true, load: () => import("./screens/Consents.svelte") },
  { path: "/earnings", title: "Earnings", owner: true, load: () => import("./screens/Earnings.svelte") },
  { path: "/activity", title: "Activity", owner: true, load: () => import("./screens/Activity.svelte") },
  { path: "/settings", title: "Settings", owner: true, load: () => import("./screens/Settings.svelte") },
  { path: "/verify", title: "Verify", owner: false, load: verify },
  { path: "/verify/:id", title: "Verify", owner: false, load: verify },
  { path: "/start", title: "Start", owner: false, load: () => import("./screens/Start.svelte") },
];

export interface Place {
  readonly path: string;
  readonly label: string;
  readonly icon: string;
}

export const places: readonly Place[] = [
  { path: "/files", label: "Files", icon: "files" },
  { path: "/offer", label: "Offer", icon: "offer" },
  { path: "/requests", label: "Requests", icon: "requests" },
  { path: "/consents", label: "Consents", icon: "consents" },
  { path: "/earnings", label: "Earnings", icon: "earnings" },
  { path: "/activity", label: "Activity", icon: "activity" },
  { path: "/verify", label: "Verify", icon: "verify" },
  { path: "/settings", label: "Settings", icon: "settings" },
];
