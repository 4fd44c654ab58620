import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { claimName } from './claim';
import { ownProcess } from './process-identity';
import { acquireStateDirectory } from './state-directory';
import { markerName } from './state-marker';

describe('a state directory', () => {
  let directory: string;
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'maestro-state-'))));
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('is not given twice, not even to the same process', async () => {
    await acquireStateDirectory(directory);
    await expect(acquireStateDirectory(directory)).rejects.toMatchObject({
      kind: 'failed_precondition',
      code: 'state_directory.in_use',
      message: expect.stringContaining(`process ${process.pid}`),
    });
  });

  it('is given again after its release', async () => {
    (await acquireStateDirectory(directory)).release();
    (await acquireStateDirectory(directory)).release();
    expect(readdirSync(directory)).toEqual([markerName]);
  });

  it('is taken over from a process that is gone, though another program has its pid now', async () => {
    const previous = claimName({ pid: process.ppid, startedAt: '1' });
    writeFileSync(join(directory, previous), '');
    const owned = await acquireStateDirectory(directory);
    expect(readdirSync(directory).sort()).toEqual([markerName, claimName(ownProcess())]);
    owned.release();
  });

  it('is refused, and nothing is written, where others keep their files', async () => {
    writeFileSync(join(directory, 'thesis.txt'), '');
    await expect(acquireStateDirectory(directory)).rejects.toMatchObject({ code: 'state_directory.foreign' });
    expect(readdirSync(directory)).toEqual(['thesis.txt']);
  });
});
