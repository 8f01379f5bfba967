/** Texts for messages, as in the Python package's `kronos.formatting`. */

/** A value as one printable line of at most `width` characters. */
export function truncate(value: unknown, width = 30): string {
  const text = [...String(value)].slice(0, 4 * width).join("");
  const printable = text.replace(/[\p{C}\p{Z}]/gu, " ");
  return [...printable.split(" ").filter(Boolean).join(" ")].slice(0, width).join("");
}

/** `a`, `a and b`, `a, b and c`, or `a, b, c, d and 3 more`. */
export function joinNames(names: readonly string[], limit = 4, conjunction = "and"): string {
  if (names.length > limit) {
    return `${names.slice(0, limit).join(", ")} and ${(names.length - limit).toLocaleString("en-US")} more`;
  }
  return [names.slice(0, -1).join(", "), ...names.slice(-1)].filter(Boolean).join(` ${conjunction} `);
}

/** A number with at most `digits` significant ones, as Python's format `g`. */
export function general(value: number, digits = 6): string {
  if (!Number.isFinite(value) || value === 0) return String(value);
  const [mantissa = "", exponent = ""] = value.toExponential(digits - 1).split("e");
  const power = Number(exponent);
  if (power < -4 || power >= digits) {
    const sign = power < 0 ? "-" : "+";
    return `${trimZeros(mantissa)}e${sign}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  return trimZeros(value.toFixed(digits - 1 - power));
}

function trimZeros(text: string): string {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}
