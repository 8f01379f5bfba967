/** The list of files that the service worker stores, with their hashes: written in front of its program by the build. */

import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join, relative, resolve, sep } from "node:path";

import type { Plugin } from "vite";

import type { Precache } from "./offline/precache";

export function precacheList(program: string): Plugin {
  let folder = "";
  return {
    name: "precache-list",
    apply: "build",
    configResolved: ({ root, build }) => void (folder = resolve(root, build.outDir)),
    async closeBundle() {
      const path = join(folder, program);
      const list = await listFiles(folder, program);
      await writeFile(path, `self.PRECACHE = ${JSON.stringify(list)};\n${await readFile(path, "utf8")}`);
    },
  };
}

async function listFiles(folder: string, left: string): Promise<Precache> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join("/"))
    .filter((name) => name !== left)
    .sort();
  const files: Record<string, string> = {};
  for (const name of names) files[name] = sha256(await readFile(join(folder, name)));
  return { version: sha256(Buffer.from(JSON.stringify(files))).slice(0, 16), files };
}

function sha256(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}
