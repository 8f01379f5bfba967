/** Wall clocks of IANA time zones, fast enough to place tens of thousands of candles. */

const BLOCK = 7 * 86_400;

/** Offsets inside one week. At most one change per week: no zone of the tz database has had two. */
interface OffsetBlock {
  /** First second with the offset `after`; infinity if the offset does not change in this week. */
  change: number;
  before: number;
  after: number;
}

/**
 * Offset of a time zone from UTC. `Intl` takes some ten microseconds per time, so it is asked once a week of data, and
 * about twenty times more to find the second of a change.
 */
export class ZoneClock {
  readonly zone: string;
  private readonly format: Intl.DateTimeFormat | null;
  private readonly blocks = new Map<number, OffsetBlock>();
  private readonly edges = new Map<number, number>();

  /** Throws a RangeError for a zone that the browser does not know. */
  constructor(zone: string) {
    this.zone = zone;
    this.format =
      zone === "UTC" ? null : new Intl.DateTimeFormat("en-US", { timeZone: zone, timeZoneName: "longOffset" });
  }

  /** Seconds east of UTC at a time in UTC epoch seconds. */
  offset(time: number): number {
    if (this.format === null) return 0;
    const index = Math.floor(time / BLOCK);
    let block = this.blocks.get(index);
    if (block === undefined) {
      block = this.resolve(index);
      this.blocks.set(index, block);
    }
    return time < block.change ? block.before : block.after;
  }

  /** The zone's wall clock, as epoch seconds of a UTC clock that shows the same date and time. */
  wall(time: number): number {
    return time + this.offset(time);
  }

  /** Whether the wall clock showed this same time before: the repeated hour at the end of daylight saving. */
  repeated(time: number): boolean {
    const offset = this.offset(time);
    const earlier = this.offset(time - 3 * 3600);
    return earlier > offset && this.offset(time - (earlier - offset)) === earlier;
  }

  private resolve(index: number): OffsetBlock {
    const before = this.edge(index);
    const after = this.edge(index + 1);
    if (before === after) return { change: Infinity, before, after };
    let same = index * BLOCK;
    let change = same + BLOCK;
    while (change - same > 1) {
      const middle = Math.floor((same + change) / 2);
      if (this.lookup(middle) === before) same = middle;
      else change = middle;
    }
    return { change, before, after };
  }

  private edge(index: number): number {
    let offset = this.edges.get(index);
    if (offset === undefined) {
      offset = this.lookup(index * BLOCK);
      this.edges.set(index, offset);
    }
    return offset;
  }

  private lookup(time: number): number {
    const match = /GMT([+-])(\d\d):(\d\d)(?::(\d\d))?/.exec(this.format!.format(time * 1000));
    if (match === null) return 0;
    const seconds = Number(match[2]) * 3600 + Number(match[3]) * 60 + Number(match[4] ?? 0);
    return match[1] === "-" ? -seconds : seconds;
  }
}
