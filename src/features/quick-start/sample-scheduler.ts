import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../domain/errors';
import type { Logger } from '../../ports/logger';

export interface SampleSchedulerOptions {
  /** `http://127.0.0.1:8080`: the sample is created as a user would, through the API. */
  managementUrl: string;
  /** Where the sample lies, and where its rooms' command is run. */
  projectDirectory: string;
  stateDirectory: string;
}

const sampleFile = 'examples/schedulers/arena.json';
const requestDeadlineMs = 10_000;

/**
 * Creates the sample scheduler once per state directory: someone who deletes it does not get it back. Answers whether there
 * is, or may be, one.
 */
export async function createSampleScheduler(options: SampleSchedulerOptions, logger: Logger): Promise<boolean> {
  const marker = join(options.stateDirectory, 'sample-created');
  const path = join(options.projectDirectory, sampleFile);
  if (existsSync(marker)) return true;
  if (!existsSync(path)) {
    logger.info({ file: path }, 'no sample scheduler: it lies beside the project, where Maestro was not started');
    return false;
  }
  try {
    const response = await fetch(`${options.managementUrl}/schedulers`, {
      method: 'POST',
      body: readFileSync(path),
      signal: AbortSignal.timeout(requestDeadlineMs),
    });
    // 409: a database that outlived its state directory has it already.
    if (!response.ok && response.status !== 409) throw new Error(await response.text());
    writeFileSync(marker, '');
    logger.info({ file: sampleFile }, 'the sample scheduler was created');
    return true;
  } catch (error) {
    logger.warn({ file: sampleFile, err: messageOf(error) }, 'the sample scheduler could not be created');
    return false;
  }
}
