/**
 * The service worker: stores the page, the runtime, the model and the sample, and serves them without a network.
 *
 * A new build is stored beside the old one, and takes its place when the page asks for it or the last tab closes.
 */

import { cacheName, fetchFile, fileOf, isFile, outdatedCaches, type Precache } from "./precache";

declare const self: ServiceWorkerGlobalScope & { readonly PRECACHE: Precache };

const { scope } = self.registration;
const { PRECACHE } = self;
const NAME = cacheName(scope, PRECACHE.version);

self.addEventListener("install", (event) => event.waitUntil(storeFiles()));
self.addEventListener("activate", (event) => event.waitUntil(removeOutdated()));
self.addEventListener("message", (event) => {
  if (event.data === "activate") event.waitUntil(self.skipWaiting());
});
self.addEventListener("fetch", (event) => {
  const name = event.request.method === "GET" ? fileOf(event.request.url, scope, PRECACHE) : null;
  if (name === null) return;
  event.respondWith(event.request.cache === "reload" ? renew(name, event.request) : answer(name, event.request));
});

async function storeFiles(): Promise<void> {
  const cache = await caches.open(NAME);
  for (const [name, sha256] of Object.entries(PRECACHE.files)) {
    const address = new URL(name, scope).href;
    await cache.put(address, await fetchFile(address, sha256));
  }
}

async function removeOutdated(): Promise<void> {
  for (const name of outdatedCaches(await caches.keys(), scope, PRECACHE.version)) await caches.delete(name);
}

async function answer(name: string, request: Request): Promise<Response> {
  const cache = await caches.open(NAME);
  return (await cache.match(new URL(name, scope).href)) ?? fetch(request);
}

/** The file from the host, which replaces the stored one if it is that of this build; without a network, that one. */
async function renew(name: string, request: Request): Promise<Response> {
  const response = await fetch(request).catch(() => null);
  if (!response) return answer(name, request);
  if (await isFile(response, PRECACHE.files[name]!)) {
    const cache = await caches.open(NAME);
    await cache.put(new URL(name, scope).href, response.clone());
  }
  return response;
}
