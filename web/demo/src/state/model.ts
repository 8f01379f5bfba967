/** The worker, and the model that it loads while the page waits for a file. */

import { signal } from "@preact/signals";

import type { Failure, ModelFacts } from "../protocol";
import { failureOf, WorkerClient } from "./worker_client";

const FOLDER = "model/";

export const worker = new WorkerClient(
  new Worker(new URL("../../worker/forecast_worker.ts", import.meta.url), { type: "module", name: "forecast" }),
);

export const model = signal<ModelFacts | null>(null);
/** Share of the model's files that has been loaded. */
export const loaded = signal(0);
export const modelFailure = signal<Failure | null>(null);

let loading: Promise<boolean> | null = null;
let failed = false;

/** Load the model unless it is there; false if that failed. */
export function loadModel(): Promise<boolean> {
  loading ??= load();
  return loading;
}

async function load(): Promise<boolean> {
  modelFailure.value = null;
  loaded.value = 0;
  try {
    const folder = new URL(FOLDER, document.baseURI).href;
    // A stored file may be damaged: after a failure all come from the host.
    model.value = await worker.request(
      "load",
      { folder, fresh: failed },
      { progress: (share) => (loaded.value = share) },
    ).answer;
    return true;
  } catch (error) {
    modelFailure.value = failureOf(error);
    failed = true;
    loading = null; // it can be tried again
    return false;
  }
}
