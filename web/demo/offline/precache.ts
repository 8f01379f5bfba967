/** The files of a build that the service worker stores, checked by their hashes, and the names of its caches. */

/** Files of one build. */
export interface Precache {
  /** Differs between builds whose files differ. */
  readonly version: string;
  /** SHA-256 of each file, by its address relative to the page. */
  readonly files: Readonly<Record<string, string>>;
}

const PREFIX = "kronos-demo";
/** The page itself, which its folder's address names too. */
const INDEX = "index.html";

/** Name of the cache of a build; pages under other paths of the same host have other ones. */
export function cacheName(scope: string, version: string): string {
  return `${PREFIX} ${new URL(scope).pathname} ${version}`;
}

/** Caches of other builds of the page at this place. */
export function outdatedCaches(names: readonly string[], scope: string, version: string): string[] {
  const own = `${PREFIX} ${new URL(scope).pathname} `;
  return names.filter((name) => name.startsWith(own) && name !== cacheName(scope, version));
}

/** Name of the file that an address of the page stands for; null if it is none of the build. */
export function fileOf(address: string, scope: string, { files }: Precache): string | null {
  const url = new URL(address);
  url.search = "";
  url.hash = "";
  if (!url.href.startsWith(scope)) return null;
  const name = decodeURIComponent(url.href.slice(scope.length)) || INDEX;
  return Object.hasOwn(files, name) ? name : null;
}

/** The file of a build: from what an earlier build has stored, the browser's cache, or the host, in this order. */
export async function fetchFile(address: string, sha256: string): Promise<Response> {
  const sources = [
    () => caches.match(address),
    () => fetch(address),
    () => fetch(address, { cache: "reload" }), // the browser's cache has an older one
  ];
  for (const source of sources) {
    const response = await source();
    if (response && (await isFile(response, sha256))) return response;
  }
  throw new TypeError(`${address} is not the file of this build.`);
}

/** Whether a response has the file with this hash. */
export async function isFile(response: Response, sha256: string): Promise<boolean> {
  return response.ok && (await hashOf(response.clone())) === sha256;
}

async function hashOf(response: Response): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", await response.arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
