import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RoomPort } from '../../domain/room/room';
import type { RuntimeInstance } from '../../ports/runtime';

export interface ContainerRecord {
  name: string;
  /** Null until it was spawned. It leads its own process group, so this is the group's number too. */
  pid: number | null;
  /** What tells this process from a later one with the same pid (`ProcessTable.identify`). */
  identity: string;
  /** How it ended (`exited with code 1`); null while it runs or was not spawned. */
  ended: string | null;
}

/** What must outlive a supervisor about one room. Written before the spawn; holds no secret. */
export interface RoomRecord {
  id: string;
  scheduler: string;
  version: string;
  validation: boolean;
  operationId: string | null;
  createdAtMs: number;
  generation: number;
  graceMs: number;
  host: string;
  ports: RoomPort[];
  containers: ContainerRecord[];
  /** All containers were spawned. */
  started: boolean;
  /** Why it never could start; it then stays listed until somebody deletes it. */
  problem: string;
  /** When its processes were asked to end; null while nothing ends it. */
  endingSinceMs: number | null;
  /** The asking was done, not only decided. */
  endingSignalled: boolean;
  /** What made it end, when that was not a deletion (`container "a" exited with code 1`). */
  endingBecause: string;
  deletionAsked: boolean;
  deletionReason: string;
}

/** The place of one scheduler's rooms. */
export interface SchedulerPlace {
  name: string;
  owner: string;
  deleting: boolean;
}

/** What a record looks like from outside. */
export function instanceOf(record: RoomRecord): RuntimeInstance {
  const ending = record.deletionAsked || (record.endingSinceMs !== null && record.problem === '');
  return {
    id: record.id,
    scheduler: record.scheduler,
    version: record.version,
    validation: record.validation,
    status: ending ? 'terminating' : record.problem !== '' ? 'error' : record.started ? 'ready' : 'pending',
    description: record.problem || record.endingBecause,
    address: record.started ? { host: record.host, ports: record.ports } : null,
    createdAtMs: record.createdAtMs,
    generation: record.generation,
    hostPorts: record.ports,
    placementProblem: null,
    isProtected: null,
  };
}

/** Cannot be a room's id, which never starts with an underscore. */
const placeFile = '_scheduler.json';

/** `<runtime>/rooms/<scheduler>/<id>.json` and `_scheduler.json`. A file is either the old text or the new one, never half. */
export class RoomRecords {
  constructor(private readonly dir: string) {}

  savePlace(place: SchedulerPlace): void {
    mkdirSync(join(this.dir, place.name), { recursive: true });
    write(join(this.dir, place.name, placeFile), place);
  }

  removePlace(name: string): void {
    rmSync(join(this.dir, name), { recursive: true, force: true });
  }

  save(record: RoomRecord): void {
    mkdirSync(join(this.dir, record.scheduler), { recursive: true });
    write(this.path(record), record);
  }

  remove(record: RoomRecord): void {
    rmSync(this.path(record), { force: true });
  }

  /** A file that is no record is left where it is and named in `unreadable`. */
  load(): { places: SchedulerPlace[]; rooms: RoomRecord[]; unreadable: string[] } {
    const places: SchedulerPlace[] = [];
    const rooms: RoomRecord[] = [];
    const unreadable: string[] = [];
    for (const folder of readdirSync(this.dir, { withFileTypes: true })) {
      if (!folder.isDirectory()) continue;
      let place: SchedulerPlace = { name: folder.name, owner: '', deleting: false };
      for (const file of readdirSync(join(this.dir, folder.name))) {
        if (!file.endsWith('.json')) continue;
        const path = join(this.dir, folder.name, file);
        try {
          const content: unknown = JSON.parse(readFileSync(path, 'utf8'));
          if (file === placeFile) place = content as SchedulerPlace;
          else rooms.push(content as RoomRecord);
        } catch {
          unreadable.push(path);
        }
      }
      places.push(place);
    }
    return { places, rooms, unreadable };
  }

  private path(record: RoomRecord): string {
    return join(this.dir, record.scheduler, `${record.id}.json`);
  }
}

function write(path: string, content: object): void {
  const draft = `${path}.draft`;
  writeFileSync(draft, JSON.stringify(content));
  renameSync(draft, path);
}
