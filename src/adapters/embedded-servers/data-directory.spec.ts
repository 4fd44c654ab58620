import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDataElsewhere, removeDataElsewhere } from './data-directory';

describe('data that lives outside its state directory', () => {
  let root: string;
  let state: string;
  let places: string[];
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'maestro-data-'));
    state = join(root, 'state');
    places = [join(root, 'elsewhere')];
    mkdirSync(state);
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  function openWithData(): string {
    const elsewhere = openDataElsewhere(state, places);
    writeFileSync(join(elsewhere, 'data'), 'kept');
    return elsewhere;
  }

  it('is found again by the next start', () => {
    const elsewhere = openWithData();
    expect(openDataElsewhere(state, places)).toBe(elsewhere);
    expect(readFileSync(join(elsewhere, 'data'), 'utf8')).toBe('kept');
  });

  it('follows a state directory that is moved', () => {
    const elsewhere = openWithData();
    const moved = join(root, 'moved');
    renameSync(state, moved);
    expect(openDataElsewhere(moved, places)).toBe(elsewhere);
    expect(existsSync(join(elsewhere, 'data'))).toBe(true);
  });

  it('is neither used nor removed by a copy of its state directory', () => {
    const elsewhere = openWithData();
    const copy = join(root, 'copy');
    cpSync(state, copy, { recursive: true });
    removeDataElsewhere(copy);
    expect(openDataElsewhere(copy, places)).not.toBe(elsewhere);
    expect(existsSync(join(elsewhere, 'data'))).toBe(true);
  });

  it('is discarded when its state directory was removed by hand', () => {
    const elsewhere = openWithData();
    rmSync(state, { recursive: true });
    mkdirSync(state);
    expect(openDataElsewhere(state, places)).toBe(elsewhere);
    expect(existsSync(join(elsewhere, 'data'))).toBe(false);
  });

  it('goes with its state', () => {
    const elsewhere = openWithData();
    removeDataElsewhere(state);
    expect(existsSync(elsewhere)).toBe(false);
  });
});
