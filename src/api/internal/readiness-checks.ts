import { messageOf } from '../../domain/errors';

/** Whether this process can do its work now. */
export abstract class ReadinessChecks {
  /** Always resolves. `failed` names what is missing, with the reason. */
  abstract check(): Promise<{ ok: boolean; failed: string[] }>;
}

/** v10's limit for each check. */
const defaultLimitMs = 2000;

/** Asks each dependency by its own function, all at once; one that rejects or takes longer than the limit has failed. */
export class DependencyChecks extends ReadinessChecks {
  constructor(
    private readonly dependencies: Readonly<Record<string, () => Promise<unknown>>>,
    private readonly limitMs = defaultLimitMs,
  ) {
    super();
  }

  async check(): Promise<{ ok: boolean; failed: string[] }> {
    const results = await Promise.all(
      Object.entries(this.dependencies).map(async ([name, ask]) => {
        try {
          await within(this.limitMs, ask());
          return [];
        } catch (error) {
          return [`${name}: ${messageOf(error)}`];
        }
      }),
    );
    const failed = results.flat();
    return { ok: failed.length === 0, failed };
  }
}

async function within(limitMs: number, answer: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${limitMs} ms`)), limitMs);
  });
  try {
    await Promise.race([answer, limit]);
  } finally {
    clearTimeout(timer);
  }
}
