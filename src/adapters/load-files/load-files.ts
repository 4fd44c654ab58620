import { appendFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { LoadRecords, type SchedulerLoad } from '../../ports/load-records';

/** Load curves as `maestro backtest` reads them. Without a directory nothing is kept. */
export class LoadFiles extends LoadRecords {
  constructor(private readonly directory: string | null) {
    super();
  }

  override async append(atMs: number, loads: readonly SchedulerLoad[]): Promise<void> {
    const { directory } = this;
    if (directory === null || loads.length === 0) return;
    await mkdir(directory, { recursive: true });
    const time = new Date(atMs).toISOString();
    const written = await Promise.allSettled(
      // Without a header line, so that files of several days are a curve when they are put together.
      loads.map(({ scheduler, matches }) =>
        appendFile(join(directory, `${scheduler}-${time.slice(0, 10)}.csv`), `${time},${matches}\n`),
      ),
    );
    for (const each of written) if (each.status === 'rejected') throw each.reason;
  }
}
