/** Requests to the server. Every failure becomes a `Failure`, which the page can show. */

import { signal } from "@preact/signals";

import { sentName } from "../downloads";
import type { ApiErrorDocument } from "./types";

const KEY = "kronos.api-key";

export const apiKey = signal(sessionStorage.getItem(KEY) ?? "");
/** The server has asked for a key; true also if it has rejected the one given. */
export const keyNeeded = signal(false);

export function setApiKey(key: string): void {
  apiKey.value = key;
  keyNeeded.value = false;
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** A request that did not succeed. `status` is 0 if no response arrived. */
export class Failure extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    message: string,
    readonly options: string[] = [],
    readonly retryAfter: number | null = null,
    /** What the server says beside the message. */
    readonly details: Pick<ApiErrorDocument, "kind" | "values" | "preview"> = {},
  ) {
    super(message);
  }
}

/** Called after each request: whether the server responded. */
let contactListener: (reached: boolean) => void = () => {};

export function onContact(listener: (reached: boolean) => void): void {
  contactListener = listener;
}

export interface RequestOptions {
  method?: "GET" | "POST" | "DELETE";
  json?: unknown;
  form?: FormData;
  signal?: AbortSignal | undefined;
}

/** Address of a path of the API; relative to the page, because a proxy may add a prefix. */
export function resolve(path: string): string {
  return new URL(path.replace(/^\//, ""), document.baseURI).href;
}

async function send(path: string, options: RequestOptions): Promise<Response> {
  const headers: Record<string, string> = {};
  if (apiKey.value) headers["X-API-Key"] = apiKey.value;
  if (options.json !== undefined) headers["Content-Type"] = "application/json";
  const body = options.json !== undefined ? JSON.stringify(options.json) : (options.form ?? null);
  const method = options.method ?? (body === null ? "GET" : "POST");
  let response: Response;
  try {
    response = await fetch(resolve(path), { method, headers, body, signal: options.signal ?? null, cache: "no-store" });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    contactListener(false);
    throw new Failure(0, "", "");
  }
  contactListener(true);
  if (response.ok) return response;
  throw await failureOf(response);
}

async function failureOf(response: Response): Promise<Failure> {
  let document: Partial<ApiErrorDocument> = {};
  try {
    document = (await response.json()) as Partial<ApiErrorDocument>;
  } catch {
    // A proxy's error page: the status says what there is to say.
  }
  if (response.status === 401) keyNeeded.value = true;
  const wait = Number(response.headers.get("Retry-After"));
  const retryAfter = wait > 0 ? wait : null;
  const title = document.error ?? response.statusText;
  return new Failure(response.status, title, document.message ?? title, document.options ?? [], retryAfter, document);
}

export async function request<T>(path: string, options: RequestOptions = {}): Promise<T> {
  const response = await send(path, options);
  return response.status === 204 ? (undefined as T) : ((await response.json()) as T);
}

/** A file of the server, and the name that it gives it. */
export async function requestFile(path: string, options: RequestOptions = {}): Promise<{ blob: Blob; name: string }> {
  const response = await send(path, options);
  const name = sentName(response.headers.get("Content-Disposition")) ?? "download";
  return { blob: await response.blob(), name };
}

export function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  return new Failure(-1, "", error instanceof Error ? error.message : String(error));
}
