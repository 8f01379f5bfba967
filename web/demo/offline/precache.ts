/** The files of a build that the service worker stores, and the names of its caches. */

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
