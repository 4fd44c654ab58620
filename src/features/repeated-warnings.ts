import type { Logger } from '../ports/logger';

/** While a store is away every call fails alike: one line tells as much as a thousand, and costs no disk. */
export const repeatedWarningIntervalMs = 10_000;

interface Said {
  atMs: number;
  leftOut: number;
}

/**
 * Warns at most once per reason and interval. The next line of the reason tells in `left_out` how many were not written since
 * the one before. Reasons come from the code, never from outside: each is remembered for good.
 */
export class RepeatedWarnings {
  private readonly said = new Map<string, Said>();

  /** `nowMs`: any clock that only goes forward. */
  constructor(
    private readonly logger: Logger,
    private readonly nowMs: () => number = () => performance.now(),
  ) {}

  /** The reason is the message, together with `kind` where one message has several causes. */
  warn(fields: object, message: string, kind = ''): void {
    const reason = `${message} ${kind}`;
    const now = this.nowMs();
    const last = this.said.get(reason);
    if (last !== undefined && now - last.atMs < repeatedWarningIntervalMs) {
      last.leftOut += 1;
      return;
    }
    this.said.set(reason, { atMs: now, leftOut: 0 });
    this.logger.warn(
      last === undefined || last.leftOut === 0 ? fields : { ...fields, left_out: last.leftOut },
      message,
    );
  }
}
