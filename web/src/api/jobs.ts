/** Jobs of the server: follow the events of one until it ends, or poll it where the stream breaks. */

import { Failure, request } from "./client";
import type { Job } from "./types";

export interface JobProgress {
  id: string;
  progress: number;
  message: string;
}

const POLL_MS = 1000;
const ENDED = new Set(["done", "failed", "cancelled"]);

/**
 * Follow a job to its end.
 *
 * @returns The finished job with its result.
 * @throws Failure if the job failed, or the server no longer knows it.
 */
export async function follow<T>(job: Job<T>, report: (progress: JobProgress) => void): Promise<Job<T>> {
  report(job);
  if (!ENDED.has(job.state)) await stream(job, report);
  const ended = await poll<T>(job.id, report);
  if (ended.state === "failed") {
    const error = ended.error;
    throw new Failure(400, error?.error ?? "", error?.message ?? ended.message, error?.options ?? []);
  }
  return ended;
}

/** Read events until one says that the job has ended, or the stream breaks. */
function stream(job: Job<unknown>, report: (progress: JobProgress) => void): Promise<void> {
  return new Promise((done) => {
    const events = new EventSource(job.events);
    const end = (): void => {
      events.close();
      done();
    };
    events.addEventListener("progress", (event) =>
      report(JSON.parse((event as MessageEvent<string>).data) as JobProgress),
    );
    for (const name of ["done", "failed", "cancelled", "closing"]) events.addEventListener(name, end);
    events.onerror = end; // polling takes over, and says why if the server has gone
  });
}

/** Ask for the job until it has ended; a server that is away is waited for. */
async function poll<T>(id: string, report: (progress: JobProgress) => void): Promise<Job<T>> {
  for (;;) {
    try {
      const job = await request<Job<T>>(`api/jobs/${id}`);
      if (ENDED.has(job.state)) return job;
      report(job);
    } catch (error) {
      if (!(error instanceof Failure) || error.status !== 0) throw error;
    }
    await new Promise((resume) => setTimeout(resume, POLL_MS));
  }
}

export function cancelJob(id: string): Promise<unknown> {
  return request(`api/jobs/${id}`, { method: "DELETE" });
}
