import { describe, expect, it } from "vitest";

import { DEFAULT_PARAMETERS, formatAddress, type PageAddress, parseAddress } from "../../src/state/url";

const EMPTY: PageAddress = { results: [], settings: {}, interval: null, file: null, parameters: {} };

describe("address", () => {
  it("remembers the interval of the chart beside that of a file", () => {
    const address = { ...EMPTY, interval: "4h", file: { file_path: "btc.csv", interval: "1h" } };
    expect(formatAddress(address)).toBe("?file=btc.csv&interval=1h&shown=4h");
    expect(parseAddress(formatAddress(address))).toEqual(address);
    expect(parseAddress("?shown=soon").interval).toBeNull();
  });

  it("is empty for the page as it begins", () => {
    expect(formatAddress(EMPTY)).toBe("");
    expect(formatAddress({ ...EMPTY, parameters: { ...DEFAULT_PARAMETERS } })).toBe("");
    expect(parseAddress("")).toEqual(EMPTY);
  });

  it("names results and settings", () => {
    const address: PageAddress = {
      ...EMPTY,
      results: ["prediction_20261129_204741", "prediction_20261129_204846"],
      settings: { theme: "dark", lang: "zh", palette: "red-up", zone: "UTC", scale: "log" },
    };
    const query = formatAddress(address);
    expect(query).toBe(
      "?result=prediction_20261129_204741,prediction_20261129_204846&theme=dark&lang=zh&palette=red-up&zone=UTC&scale=log",
    );
    expect(parseAddress(query)).toEqual(address);
  });

  it("keeps a file with its reading options, and the parameters of a replay", () => {
    const address: PageAddress = {
      ...EMPTY,
      file: {
        file_path: "folder/größe & co.csv",
        timezone: "America/New_York",
        decimal: ",",
        thousands: "",
        date_format: "%d.%m.%Y %H:%M",
        header: 0,
        columns: { close: "Last=Price", open: "Erster" },
      },
      parameters: {
        mode: "replay",
        lookback: 200,
        horizon: 24,
        end: 1_738_195_200,
        temperature: 0.8,
        topP: 0.9,
        samples: 50,
        seed: 0,
        calibrate: false,
        windows: 5,
      },
    };
    expect(parseAddress(formatAddress(address))).toEqual(address);
  });

  it("ignores what it cannot use", () => {
    const { results, parameters, file } = parseAddress(
      "?result=../x,ok_1&mode=guess&horizon=0&lookback=x&top_p=7&end=now&header=-1",
    );
    expect(results).toEqual(["ok_1"]);
    expect(parameters).toEqual({});
    expect(file).toBeNull();
  });

  it("shows each result once, and at most six", () => {
    expect(parseAddress("?result=a,a,b").results).toEqual(["a", "b"]);
    expect(parseAddress("?result=a,b,c,d,e,f,g").results).toHaveLength(6);
  });
});
