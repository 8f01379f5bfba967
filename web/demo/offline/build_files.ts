/** Files of a build, checked by their hashes. */

/** The file of a build: from what an earlier build has stored, the browser's cache, or the host, in this order. */
export async function fetchFile(address: string, sha256: string): Promise<Response> {
  const sources = [
    () => caches.match(address),
    () => fetch(address),
    () => fetch(address, { cache: "reload" }), // the browser's cache has an older one
  ];
  for (const source of sources) {
    const response = await source();
    if (response?.ok && (await hashOf(response.clone())) === sha256) return response;
  }
  throw new TypeError(`${address} is not the file of this build.`);
}

async function hashOf(response: Response): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", await response.arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
