/** A room of a v10 that runs. */
export interface FoundRoom {
  id: string;
  /** Of this very instance: another may get its name. */
  uid: string;
  /** The scheduler version that it was made from. */
  version: string;
  /** Whose it is: the id of an installation of Maestro; null when it is no such one's, hence v10's. */
  holder: string | null;
  /** It is ending already. */
  isGoing: boolean;
  createdAtMs: number;
}

/** The place of a scheduler's rooms, and what is in it. */
export interface FoundPlace {
  holder: string | null;
  isGoing: boolean;
  /** Which state of it was read: it is taken only as it was found. */
  revision: string;
  rooms: FoundRoom[];
}

export interface AdoptionFacts {
  /** Null when there is none. */
  place: FoundPlace | null;
  /** Our own id. */
  installation: string;
  /** Null when this Maestro has no scheduler of the name. */
  scheduler: { state: string; version: string; versions: readonly string[] } | null;
  nowMs: number;
}

export type AdoptionPlan =
  | { action: 'none' }
  | { action: 'refuse'; reason: string }
  /** These rooms, and the place as it was found if it is not ours yet. `remarks`: what its owner should know. */
  | { action: 'take'; rooms: FoundRoom[]; place: FoundPlace; takesPlace: boolean; remarks: string[] };

/** v10 looks after its rooms once a minute: one that is younger may be the work of a v10 that still runs. Milliseconds. */
const suspiciousAgeMs = 90_000;

/**
 * What is to be taken of a scheduler that a v10 ran. All of it or nothing: where something belongs to another installation, two
 * would run one fleet. Asked again after an interruption, it answers what is left.
 */
export function planRoomAdoption({ place, installation, scheduler, nowMs }: AdoptionFacts): AdoptionPlan {
  if (scheduler === null) return refuse('this Maestro has no scheduler of this name: import it first');
  if (scheduler.state === 'terminating') return refuse('the scheduler is being deleted here');
  if (place === null) return refuse('the cluster has no namespace of this name: is it the cluster that v10 uses?');
  if (place.isGoing) return refuse('its namespace is being deleted');
  const isForeign = (holder: string | null): boolean => holder !== null && holder !== installation;
  if (isForeign(place.holder)) return refuse(`its namespace belongs to another Maestro, installation ${place.holder}`);
  const foreign = place.rooms.find((room) => isForeign(room.holder));
  if (foreign) return refuse(`pod ${foreign.id} belongs to another Maestro, installation ${foreign.holder}`);

  const rooms = place.rooms.filter((room) => room.holder === null && !room.isGoing);
  const takesPlace = place.holder === null;
  if (rooms.length === 0 && !takesPlace) return { action: 'none' };
  return {
    action: 'take',
    rooms,
    place,
    takesPlace,
    remarks: [...remarksOn(rooms, scheduler, nowMs), ...leftAlone(place)],
  };
}

function remarksOn(
  rooms: readonly FoundRoom[],
  { version, versions }: NonNullable<AdoptionFacts['scheduler']>,
  nowMs: number,
): string[] {
  const remarks: string[] = [];
  const byVersion = new Map<string, number>();
  for (const room of rooms) byVersion.set(room.version, (byVersion.get(room.version) ?? 0) + 1);
  for (const [other, count] of byVersion) {
    if (other === version) continue;
    const known = versions.includes(other) ? 'is not the active one' : 'is not among those that are here';
    remarks.push(`${pods(count)} of version ${other || '(none)'}, which ${known} (${version} is)`);
  }
  const youngestMs = Math.max(...rooms.map((room) => room.createdAtMs));
  if (nowMs - youngestMs < suspiciousAgeMs) {
    const seconds = Math.max(0, Math.round((nowMs - youngestMs) / 1_000));
    remarks.push(`the youngest pod is ${seconds} s old: make sure that v10's worker is stopped`);
  }
  return remarks;
}

function leftAlone({ rooms }: FoundPlace): string[] {
  const going = rooms.filter((room) => room.holder === null && room.isGoing).length;
  return going === 0 ? [] : [`${pods(going)} left alone: ${going === 1 ? 'it is' : 'they are'} ending`];
}

export function pods(count: number): string {
  return count === 1 ? '1 pod' : `${count} pods`;
}

function refuse(reason: string): AdoptionPlan {
  return { action: 'refuse', reason };
}
