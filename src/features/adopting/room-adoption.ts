import { DomainError, messageOf } from '../../domain/errors';
import { planRoomAdoption, pods, type AdoptionPlan, type FoundRoom } from '../../domain/room/plan-room-adoption';
import type { SchedulerStore } from '../../ports/scheduler-store';
import type { V10Rooms } from '../../ports/v10-rooms';

/** What became of the rooms of one scheduler. `refused`: they stay v10's, or as many as `detail` says. */
export interface AdoptionOutcome {
  name: string;
  outcome: 'adopted' | 'unchanged' | 'refused';
  /** The rest of the line: what was taken, or why nothing was. */
  detail: string;
  /** What its owner should know. */
  remarks: string[];
}

export interface AdoptionRequest {
  /** Tells what would become of each scheduler's rooms, and writes nothing. */
  isDryRun: boolean;
  /** Only of these schedulers; of all that are here, if not given. */
  names?: readonly string[];
}

/** So many rooms are marked side by side. */
const parallelMarks = 20;
/** A list right after the marks finds what was started meanwhile; a v10 that goes on starting rooms is not kept up with. */
const rounds = 3;

/**
 * Takes over the rooms that a Maestro v10 runs, without ending one: they are marked as ours, and the watcher finds them.
 *
 * Rooms first, their place last. As long as the place is not ours no room can be started there: so whenever this stops, a fleet
 * of which only some are known is not filled up beside the rooms that run. The next run goes on.
 */
export class RoomAdoption {
  constructor(
    private readonly v10: V10Rooms,
    private readonly schedulers: SchedulerStore,
    /** Our id. */
    private readonly installation: string,
  ) {}

  /** One outcome after the other, as they happen, in order of names. Throws only what keeps all further schedulers from being adopted. */
  async *run({ isDryRun, names }: AdoptionRequest): AsyncGenerator<AdoptionOutcome> {
    const all = names ?? (await this.schedulers.listSettings()).map(({ name }) => name);
    for (const name of [...new Set(all)].sort()) {
      try {
        yield await this.adopt(name, isDryRun);
      } catch (error) {
        if (!(error instanceof DomainError) || error.kind === 'unavailable' || error.kind === 'permission_denied') {
          throw error;
        }
        yield refused(name, messageOf(error));
      }
    }
  }

  private async adopt(name: string, isDryRun: boolean): Promise<AdoptionOutcome> {
    const taken = new Set<string>();
    const remarks = new Set<string>();
    for (let round = 1; round <= rounds; round++) {
      const plan = await this.plan(name);
      if (plan.action === 'refuse') return refused(name, plan.reason, taken.size);
      if (plan.action === 'none') {
        if (taken.size > 0) return this.adopted(name, taken.size, false, remarks);
        return { name, outcome: 'unchanged', detail: '', remarks: [] };
      }
      for (const remark of plan.remarks) remarks.add(remark);
      if (isDryRun) return this.adopted(name, plan.rooms.length, plan.takesPlace, remarks);
      if (plan.rooms.length > 0) {
        for (const id of await this.takeRooms(name, plan.rooms)) taken.add(id);
        // What appeared since is a running v10's work: it is looked for before the place is opened.
        continue;
      }
      if ((await this.v10.takePlace(name, plan.place)) === 'taken')
        return this.adopted(name, taken.size, true, remarks);
    }
    return refused(
      name,
      "pods of v10 keep appearing while they are adopted: stop v10's worker, and run this again",
      taken.size,
    );
  }

  private async plan(name: string): Promise<AdoptionPlan> {
    const scheduler = await this.schedulers.getScheduler(name);
    const versions = scheduler && (await this.schedulers.listVersions(name)).map(({ version }) => version);
    const place = scheduler && (await this.v10.find(name));
    return planRoomAdoption({
      place,
      installation: this.installation,
      scheduler: scheduler && { state: scheduler.state, version: scheduler.version, versions: versions ?? [] },
      nowMs: Date.now(),
    });
  }

  private async takeRooms(name: string, rooms: readonly FoundRoom[]): Promise<string[]> {
    const taken: string[] = [];
    for (let start = 0; start < rooms.length; start += parallelMarks) {
      await Promise.all(
        rooms.slice(start, start + parallelMarks).map(async ({ id, uid }) => {
          if ((await this.v10.takeRoom(name, id, uid)) === 'taken') taken.push(id);
        }),
      );
    }
    return taken;
  }

  private adopted(name: string, rooms: number, takesPlace: boolean, remarks: Iterable<string>): AdoptionOutcome {
    const detail = takesPlace ? `${pods(rooms)}, and the namespace, which stays when the scheduler goes` : pods(rooms);
    return { name, outcome: 'adopted', detail, remarks: [...remarks] };
  }
}

function refused(name: string, reason: string, taken = 0): AdoptionOutcome {
  const detail = taken === 0 ? reason : `${reason} (${pods(taken)} were taken before)`;
  return { name, outcome: 'refused', detail, remarks: [] };
}
