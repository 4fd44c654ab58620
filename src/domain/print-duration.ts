const units: readonly [name: string, seconds: number][] = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
  ['s', 1],
];

/** `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `4 d`: for sentences, hence the two largest units, cut and not rounded. */
export function printDuration(ms: number): string {
  if (ms < 1_000) return `${Math.floor(Math.max(0, ms) / 100) / 10} s`;
  let seconds = Math.floor(ms / 1_000);
  const largest = units.findIndex(([, size]) => seconds >= size);
  return units
    .slice(largest, largest + 2)
    .flatMap(([name, size]) => {
      const amount = Math.floor(seconds / size);
      seconds -= amount * size;
      return amount === 0 ? [] : [`${amount} ${name}`];
    })
    .join(' ');
}
