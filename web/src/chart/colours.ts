/** Colour arithmetic for shades that the palette does not name. */

type Rgb = readonly [red: number, green: number, blue: number];

/** Red, green and blue of any CSS colour, 0–255. Browsers resolve what is not hexadecimal. */
export function parseColour(colour: string): Rgb {
  const match = /^#([0-9a-f]{3}|[0-9a-f]{6})$/i.exec(colour);
  if (match === null) return resolveColour(colour);
  const digits = match[1]!;
  const full = digits.length === 3 ? [...digits].map((digit) => digit + digit).join("") : digits;
  return [0, 2, 4].map((start) => Number.parseInt(full.slice(start, start + 2), 16)) as unknown as Rgb;
}

function resolveColour(colour: string): Rgb {
  const context = document.createElement("canvas").getContext("2d");
  if (context === null) return [128, 128, 128];
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  const pixel = context.getImageData(0, 0, 1, 1).data;
  return [pixel[0]!, pixel[1]!, pixel[2]!];
}

export function withAlpha(colour: string, alpha: number): string {
  return `rgba(${parseColour(colour).join(", ")}, ${alpha})`;
}

/** A colour between two: `share` of the second. */
export function mix(first: string, second: string, share: number): string {
  const to = parseColour(second);
  const mixed = parseColour(first).map((value, index) => Math.round(value + (to[index]! - value) * share));
  return `rgb(${mixed.join(", ")})`;
}

/** Whether the ground is dark, by relative luminance (WCAG 2). */
export function isDark(colour: string): boolean {
  const [red, green, blue] = parseColour(colour).map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  }) as unknown as Rgb;
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.18;
}
