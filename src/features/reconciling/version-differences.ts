import { Injectable } from '@nestjs/common';
import { messageOf } from '../../domain/errors';
import { definitionChanges } from '../../domain/scheduler/definition-changes';
import type { Scheduler } from '../../domain/scheduler/scheduler';
import { Logger } from '../../ports/logger';
import { SchedulerStore } from '../../ports/scheduler-store';

/** What is known of a version beside the active one. */
interface Difference {
  /** They differ in what a room is started with. */
  isMajor: boolean;
  /** The version that was active when it was made; empty for the first. */
  rollbackVersion: string;
}

/** Differences that are remembered, of all schedulers together; forgetting them costs a read each. */
const rememberedDifferences = 10_000;
/** Minor versions between a version and the last one whose rooms are others: more were not made by people. */
const longestWayBack = 32;

/**
 * How a scheduler's versions differ from its active one. A version never changes once it is stored, so each pair is compared
 * once in a process; looks at a fleet, which come every second in a rollout, then cost no read.
 */
@Injectable()
export class VersionDifferences {
  private readonly known = new Map<string, Difference>();

  constructor(
    private readonly schedulers: SchedulerStore,
    private readonly logger: Logger,
  ) {}

  /**
   * Those of these versions whose rooms are to be replaced. A version that nobody knows (a room that somebody else made) or
   * whose definition cannot be read is none of them: nothing says that its rooms are other ones.
   */
  async findReplaced(scheduler: Scheduler, versions: Iterable<string>): Promise<Set<string>> {
    const others = [...new Set(versions)].filter((version) => version !== scheduler.version);
    const differences = await Promise.all(others.map((version) => this.find(scheduler, version)));
    return new Set(others.filter((_, place) => differences[place]?.isMajor === true));
  }

  /**
   * The version to go back to when rooms of the active one fail: the one that was active before (where nobody remembers: when
   * this one was made), if its rooms are others; else the last one before that, because a version that differs in minor fields
   * only would fail alike. Empty when there is none.
   */
  async findRollbackVersion(scheduler: Scheduler, activatedFrom: string): Promise<string> {
    const isKnown = activatedFrom !== '' && activatedFrom !== scheduler.version;
    let version = isKnown ? activatedFrom : scheduler.rollbackVersion;
    for (let steps = 0; version !== '' && steps < longestWayBack; steps++) {
      const difference = await this.find(scheduler, version);
      if (difference === null) return '';
      if (difference.isMajor) return version;
      version = difference.rollbackVersion;
    }
    return '';
  }

  private async find(active: Scheduler, version: string): Promise<Difference | null> {
    // Another scheduler of the same name begins its versions anew.
    const key = JSON.stringify([active.name, active.createdAt.getTime(), active.version, version]);
    const known = this.known.get(key);
    if (known !== undefined) return known;
    const other = await this.schedulers.getScheduler(active.name, version);
    if (other === null) return null;
    const difference = { isMajor: this.isMajor(active, other), rollbackVersion: other.rollbackVersion };
    if (this.known.size >= rememberedDifferences) this.known.clear();
    this.known.set(key, difference);
    return difference;
  }

  private isMajor(active: Scheduler, other: Scheduler): boolean {
    try {
      return definitionChanges(other.definition, active.definition).some(({ major }) => major);
    } catch (error) {
      this.logger.warn(
        { scheduler_name: active.name, version: other.version, err: messageOf(error) },
        'the definition of a version cannot be read: its rooms are not replaced',
      );
      return false;
    }
  }
}
