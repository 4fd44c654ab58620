/** Answers a number from 0 to less than 1 each time. */
export type RandomSource = () => number;

/**
 * The same numbers for the same seed, on every machine. Mulberry32, by Tommy Ettinger (public domain): 32 bits of state, good
 * enough to spread events, and no more is asked of it.
 */
export function seededRandom(seed: number): RandomSource {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Evenly from `mean * (1 - spread)` to `mean * (1 + spread)`. */
export function around(mean: number, spread: number, random: RandomSource): number {
  return mean * (1 - spread + 2 * spread * random());
}

/** How long until something happens that happens once in `mean` on average, whatever happened before. */
export function untilNext(mean: number, random: RandomSource): number {
  return -Math.log(1 - random()) * mean;
}
