/** The page's side of its worker: requests with their answers, progress and cancellation. */

import type { Answers, Failure, PageMessage, RequestKind, RequestMessage, Requests, WorkerMessage } from "../protocol";

/** A failed request, with the name and the words of the worker's error. */
export class RequestError extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

/** A request on its way. */
export interface Call<K extends RequestKind> {
  readonly answer: Promise<Answers[K]>;
  cancel(): void;
}

interface Pending {
  resolve(content: Answers[RequestKind]): void;
  reject(error: RequestError): void;
  progress(share: number): void;
}

/** What a worker needs for this; the page's is a `Worker`. */
export interface Port {
  postMessage(message: WorkerMessage, transfer: Transferable[]): void;
  addEventListener(type: "message", listener: (event: MessageEvent<PageMessage>) => void): void;
  addEventListener(type: "error", listener: (event: ErrorEvent) => void): void;
}

export class WorkerClient {
  private readonly pending = new Map<number, Pending>();
  private last = 0;

  constructor(private readonly port: Port) {
    port.addEventListener("message", ({ data }) => this.receive(data));
    port.addEventListener("error", ({ message }) => {
      const error = new RequestError({ name: "Error", message: message || "The worker cannot be started." });
      this.pending.forEach((one) => one.reject(error));
      this.pending.clear();
    });
  }

  request<K extends RequestKind>(
    kind: K,
    content: Requests[K],
    { progress = () => {}, transfer = [] }: { progress?: (share: number) => void; transfer?: Transferable[] } = {},
  ): Call<K> {
    const id = ++this.last;
    const answer = new Promise<Answers[K]>((resolve, reject) => {
      this.pending.set(id, { resolve: resolve as Pending["resolve"], reject, progress });
    });
    this.port.postMessage({ id, kind, content } as RequestMessage, transfer);
    return { answer, cancel: () => this.port.postMessage({ id, kind: "cancel" }, []) };
  }

  private receive(message: PageMessage): void {
    const one = this.pending.get(message.id);
    if (!one) return;
    if (message.kind === "progress") return one.progress(message.share);
    this.pending.delete(message.id);
    if (message.kind === "answer") one.resolve(message.content);
    else one.reject(new RequestError(message.failure));
  }
}

export function failureOf(error: unknown): Failure {
  if (error instanceof RequestError) return error.failure;
  return { name: "Error", message: error instanceof Error ? error.message : String(error) };
}
