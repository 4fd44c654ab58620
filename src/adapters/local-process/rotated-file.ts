import {
  closeSync,
  copyFileSync,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

/**
 * Keeps a file that others append to within `maxBytes` by copying it to `<path>.1` (and that to `.2`, ...) and cutting it to
 * nothing. Renaming would not do: the writer holds the file, not its name. Writers must have it open for appending, or
 * they go on at their old position. Lines that are written between the copy and the cut are lost.
 * At most `files` files remain, the current one included; an old one holds at most twice `maxBytes`.
 */
export function rotateByCopy(path: string, maxBytes: number, files: number): void {
  const size = sizeOf(path);
  if (size <= maxBytes) return;
  for (let n = files - 1; n > 1; n--) renameIfThere(`${path}.${n - 1}`, `${path}.${n}`);
  if (files > 1) copyTail(path, `${path}.1`, size, maxBytes);
  truncateSync(path, 0);
}

/** Removes the logs of rooms that are not in `living`, but for the `kept` newest ones. */
export function pruneLogs(dir: string, living: ReadonlySet<string>, kept: number): void {
  const files = readdirSync(dir).map((name) => ({ name, room: /^(.+)\.log(\.\d+)?$/.exec(name)?.[1] ?? '' }));
  const lastWrites = new Map<string, number>();
  for (const { name, room } of files) {
    if (room === '' || living.has(room)) continue;
    lastWrites.set(room, Math.max(lastWrites.get(room) ?? 0, modifiedAtMs(join(dir, name))));
  }
  const old = [...lastWrites].sort((a, b) => b[1] - a[1]).slice(kept);
  const doomed = new Set(old.map(([room]) => room));
  for (const { name, room } of files) if (doomed.has(room)) rmSync(join(dir, name), { force: true });
}

function copyTail(from: string, to: string, size: number, maxBytes: number): void {
  const draft = `${to}.draft`;
  if (size <= 2 * maxBytes) {
    copyFileSync(from, draft);
  } else {
    // It grew by more than one file's worth since the last look: the newest part is the one worth keeping.
    const tail = Buffer.alloc(maxBytes);
    const source = openSync(from, 'r');
    try {
      const read = readSync(source, tail, 0, maxBytes, Math.max(0, fstatSync(source).size - maxBytes));
      writeFileSync(draft, tail.subarray(0, read));
    } finally {
      closeSync(source);
    }
  }
  renameSync(draft, to);
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch {
    return 0;
  }
}

function modifiedAtMs(path: string): number {
  try {
    return statSync(path).mtimeMs;
  } catch {
    return 0;
  }
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
