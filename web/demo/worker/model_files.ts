/** Files of the exported model, read from the page's host with a count of their bytes. */

import { CheckpointError, type ReadFile } from "@kronos-forecast/browser";

/** Returns a reader of a folder that reports how many bytes have come; a `fresh` one takes no stored copies. */
export function modelFiles(folder: string, fresh: boolean, received: (bytes: number) => void): ReadFile {
  return async (name) => {
    // A changed file has a new hash in the manifest: a stored copy is only used if the host says that it is current.
    const response = await fetch(new URL(name, folder), { cache: fresh ? "reload" : "no-cache" }).catch(() => null);
    if (!response?.ok || !response.body) {
      const status = response ? ` (HTTP ${response.status})` : "";
      throw new CheckpointError(`${name} of the model cannot be loaded${status}: check the connection, and reload.`);
    }
    return readBody(response.body, received);
  };
}

async function readBody(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  received: (bytes: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const reader = body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    received(part.value.length);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
