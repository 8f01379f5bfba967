/** The service worker, which stores the page for use without a network. */

import { signal } from "@preact/signals";

/** Where the browser has none, as in pages that are neither on HTTPS nor on localhost, the page works online only. */
export type OfflineState = "none" | "storing" | "ready" | "failed";

export const offline = signal<OfflineState>("none");
/** A new build of the page has been stored, and waits. */
export const waiting = signal<ServiceWorker | null>(null);

export async function storePage(): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  offline.value = "storing";
  try {
    const registration = await navigator.serviceWorker.register("service_worker.js");
    registration.addEventListener("updatefound", () => follow(registration));
    follow(registration);
  } catch {
    offline.value = "failed";
  }
}

/** Follow a build of the page until it is stored. */
function follow(registration: ServiceWorkerRegistration): void {
  const { active, installing } = registration;
  if (active) offline.value = "ready";
  waiting.value = active ? registration.waiting : null;
  installing?.addEventListener("statechange", () => {
    if (installing.state === "redundant" && !registration.active) offline.value = "failed";
    else follow(registration);
  });
}

/** Show the new build. */
export function update(): void {
  navigator.serviceWorker.addEventListener("controllerchange", () => location.reload());
  waiting.value?.postMessage("activate");
}
