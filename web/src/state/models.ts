/** The models of the server, the one in use, and the loading of another. */

import { batch, computed, signal } from "@preact/signals";

import { asFailure, type Failure, request } from "../api/client";
import { follow, type JobProgress } from "../api/jobs";
import type { Job, ModelInfo, ModelStatus } from "../api/types";

export const models = signal<Record<string, ModelInfo>>({});
export const status = signal<ModelStatus | null>(null);
export const loadingModel = signal<{ key: string; job: JobProgress } | null>(null);
export const modelFailure = signal<Failure | null>(null);

export const currentModel = computed(() => status.value?.current_model ?? null);

const RETRY_MS = 2000;

export async function loadModels(): Promise<void> {
  const listed = await request<{ models: Record<string, ModelInfo> }>("api/available-models");
  models.value = listed.models;
  await refreshStatus();
}

/** Ask which model is in use, again while the server is still loading its default one. */
export async function refreshStatus(tries = 15): Promise<void> {
  status.value = await request<ModelStatus>("api/model-status");
  if (!status.value.loaded && tries > 0) setTimeout(() => void refreshStatus(tries - 1).catch(() => {}), RETRY_MS);
}

export async function loadModel(key: string): Promise<void> {
  if (loadingModel.value) return;
  batch(() => {
    modelFailure.value = null;
    loadingModel.value = { key, job: { id: "", progress: 0, message: "waiting" } };
  });
  try {
    const job = await request<Job<unknown>>("api/jobs/load-model", { json: { model_key: key } });
    await follow(job, (progress) => (loadingModel.value = { key, job: progress }));
    status.value = await request<ModelStatus>("api/model-status");
  } catch (error) {
    modelFailure.value = asFailure(error);
  } finally {
    loadingModel.value = null;
  }
}
