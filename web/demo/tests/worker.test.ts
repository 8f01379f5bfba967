import { Forecast, formatTime, type ForecastMetadata } from "@kronos-forecast/browser";
import { describe, expect, it, vi } from "vitest";

import type { PageMessage, WorkerMessage } from "../src/protocol";
import { failureOf, WorkerClient } from "../src/state/worker_client";
import { decodeText, fileStem } from "../worker/file_text";
import { modelFiles } from "../worker/model_files";
import { pathTable, quantileTable } from "../worker/tables";

class Port {
  readonly sent: WorkerMessage[] = [];
  private readonly listeners = new Map<string, (event: never) => void>();

  postMessage(message: WorkerMessage): void {
    this.sent.push(message);
  }

  addEventListener(type: string, listener: (event: never) => void): void {
    this.listeners.set(type, listener);
  }

  answer(message: PageMessage): void {
    this.listeners.get("message")!({ data: message } as never);
  }

  fail(message: string): void {
    this.listeners.get("error")!({ message } as never);
  }
}

describe("requests to the worker", () => {
  it("get their own answers, and progress before", async () => {
    const port = new Port();
    const client = new WorkerClient(port);
    const shares: number[] = [];
    const first = client.request("table", { forecast: 1, kind: "paths" }, { progress: (share) => shares.push(share) });
    const second = client.request("table", { forecast: 1, kind: "quantiles" });
    port.answer({ id: 2, kind: "answer", content: "second" });
    port.answer({ id: 1, kind: "progress", share: 0.5 });
    port.answer({ id: 1, kind: "answer", content: "first" });
    expect([await first.answer, await second.answer, shares]).toEqual(["first", "second", [0.5]]);
    first.cancel();
    expect(port.sent.at(-1)).toEqual({ id: 1, kind: "cancel" });
  });

  it("fail in the words of the worker, or together if it ends", async () => {
    const port = new Port();
    const client = new WorkerClient(port);
    const refused = client.request("table", { forecast: 1, kind: "paths" }).answer.catch(failureOf);
    port.answer({ id: 1, kind: "failure", failure: { name: "DataError", message: "too short" } });
    expect(await refused).toEqual({ name: "DataError", message: "too short" });
    const lost = client.request("table", { forecast: 1, kind: "paths" }).answer.catch(failureOf);
    port.fail("out of memory");
    expect(await lost).toEqual({ name: "Error", message: "out of memory" });
  });
});

describe("texts of files", () => {
  it("are UTF-8 or UTF-16 by their mark", () => {
    const utf16 = new Uint8Array([0xff, 0xfe, 0x41, 0, 0x42, 0]);
    expect(decodeText(utf16.buffer, "a.csv")).toBe("AB");
    expect(decodeText(new TextEncoder().encode("日付").buffer, "a.csv")).toBe("日付");
    expect(() => decodeText(new Uint8Array([0xc8, 0xd5]).buffer, "a.csv")).toThrow("a.csv is not text in UTF-8");
  });

  it("name a series as Python's command does", () => {
    expect(["btc_1h.csv", "a.b.TXT", ".csv", "x.csv.txt"].map(fileStem)).toEqual(["btc_1h", "a.b", ".csv", "x"]);
  });
});

describe("files of the model", () => {
  it("are read with a count of their bytes", async () => {
    const modes: unknown[] = [];
    vi.stubGlobal("fetch", async (_: URL, { cache }: RequestInit) => {
      modes.push(cache);
      return new Response("abcd");
    });
    const counted: number[] = [];
    const read = modelFiles("https://example.org/model/", false, (bytes) => counted.push(bytes));
    expect(new TextDecoder().decode(await read("a.onnx"))).toBe("abcd");
    expect(counted).toEqual([4]);
    await modelFiles("https://example.org/model/", true, () => {})("a.onnx");
    expect(modes).toEqual(["no-cache", "reload"]);
    vi.stubGlobal("fetch", async () => new Response("", { status: 404 }));
    await expect(read("a.onnx")).rejects.toThrow("a.onnx of the model cannot be loaded (HTTP 404)");
    vi.unstubAllGlobals();
  });
});

describe("tables", () => {
  const times = { wall: Float64Array.of(Date.UTC(2024, 0, 1), Date.UTC(2024, 0, 2)), offset: 0 };
  const paths = Float64Array.from({ length: 3 * 2 * 6 }, (_, i) => i + 1);
  const made = new Forecast(paths, 3, times, 1, 0, {} as ForecastMetadata);

  it("have one row per step of each path", () => {
    const lines = pathTable(made).split("\n");
    expect(lines[0]).toBe("sample_id,timestamps,open,high,low,close,volume,amount");
    expect(lines[4]).toBe(`1,${formatTime(times.wall[1]!, 0)},19,20,21,22,23,24`);
    expect(lines).toHaveLength(8);
  });

  it("have the columns of Python's wide table", () => {
    const [head, first] = quantileTable(made)
      .split("\n")
      .map((line) => line.split(","));
    expect(head!.slice(0, 5)).toEqual(["timestamps", "open_mean", "open_median", "open_q025", "open_q05"]);
    expect(head).toHaveLength(1 + 6 * 10);
    expect(first!.slice(1, 4).map(Number)).toEqual([13, 13, 1]);
  });
});
