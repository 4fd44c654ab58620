/**
 * The shortest decimal that stands for the same 32-bit float: 0.9900000095367432 is 0.99.
 * protobuf's `float` cannot hold what a user typed exactly; this is the text that v10 prints for it
 * (Go: `strconv.FormatFloat(x, 'g', -1, 32)`). NaN and the infinities stay as they are.
 */
export function shortestFloat32(value: number): number {
  const float = Math.fround(value);
  if (!Number.isFinite(float)) return float;
  // Nine significant digits identify every 32-bit float (IEEE 754).
  for (let digits = 1; digits < 9; digits++) {
    const candidate = Number(float.toPrecision(digits));
    if (Math.fround(candidate) === float) return candidate;
  }
  return Number(float.toPrecision(9));
}
