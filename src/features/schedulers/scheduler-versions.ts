import { Injectable } from '@nestjs/common';
import { canonicalEntries } from '../../domain/room/parse-allocation-request';
import { selectVersions } from '../../domain/scheduler/select-versions';
import { SchedulerStore } from '../../ports/scheduler-store';
import { SchedulerSettingsCache } from './scheduler-settings';

/** Selectors that are remembered, of all schedulers together; the one that was not used for longest is forgotten first. */
const rememberedSelectors = 256;

/**
 * Which versions of a scheduler have certain labels, in process memory: callers who select by them ask the same again and
 * again, and that must not cost a query each.
 */
@Injectable()
export class SchedulerVersionsCache {
  /** In order of their last use. */
  private readonly found = new Map<string, { scheduler: string; versions: Promise<string[]> }>();

  constructor(
    private readonly schedulers: SchedulerStore,
    settings: SchedulerSettingsCache,
  ) {
    settings.onChange((name) => this.forget(name));
  }

  /** Null when nothing is selected: any version will do. As old as the scheduler's last change that was heard of. */
  async find(
    scheduler: string,
    { version, labels }: { version: string; labels: Readonly<Record<string, string>> },
  ): Promise<string[] | null> {
    if (version === '' && Object.keys(labels).length === 0) return null;
    return selectVersions(await this.findLabelled(scheduler, labels), version);
  }

  private findLabelled(scheduler: string, labels: Readonly<Record<string, string>>): Promise<string[]> {
    const key = JSON.stringify([scheduler, canonicalEntries(labels)]);
    const entry = this.found.get(key) ?? { scheduler, versions: this.schedulers.findVersions(scheduler, labels) };
    this.found.delete(key);
    this.found.set(key, entry);
    if (this.found.size > rememberedSelectors) this.found.delete(this.found.keys().next().value!);
    entry.versions.catch(() => {
      // The next one asks again. What was forgotten meanwhile may have a successor.
      if (this.found.get(key) === entry) this.found.delete(key);
    });
    return entry.versions;
  }

  private forget(scheduler: string | null): void {
    if (scheduler === null) return this.found.clear();
    for (const [key, entry] of this.found) if (entry.scheduler === scheduler) this.found.delete(key);
  }
}
