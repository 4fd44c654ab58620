import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from './eventually';
import type { MaestroCluster, StoredOperation } from './maestro-cluster';
import { isAlive, roomRecords } from './maestro-process';
import { Player } from './player';

/** A room as the management API tells it. */
export interface RoomView {
  id: string;
  version: string;
  status: string;
  pingStatus: string;
  lastPingAt?: string;
  openAllocations: number;
  validation: boolean;
  draining: boolean;
  ports: { port: number }[];
}

/** A room somebody plays in; `pid` is that of its process. */
export interface PlayedRoom {
  id: string;
  pid: number;
  player: Player;
}

/** Bounds hangs: whatever rooms do, they do within seconds, also on a busy machine. */
const patience = { timeoutMs: 60_000, everyMs: 50 };

export const hasMatch = ({ status, openAllocations }: RoomView): boolean =>
  ['occupied', 'active', 'allocated'].includes(status) || openAllocations > 0;

/** Whether players can be sent there. */
export const isFree = (room: RoomView): boolean =>
  room.status === 'ready' && !room.draining && !room.validation && !hasMatch(room);

/** One scheduler of a cluster, whose rooms are sample rooms, with people who play there, and an eye on all of it. */
export class PlayedFleet {
  /** What was seen that must never be. */
  readonly violations: string[] = [];
  /** How often somebody looked. */
  looks = 0;
  private readonly joined: PlayedRoom[] = [];
  /** Those of them of which Maestro knows. */
  private readonly played = new Map<string, PlayedRoom>();
  private watching: Promise<void> | null = null;
  private isOver = false;

  constructor(
    private readonly cluster: MaestroCluster,
    readonly name: string,
  ) {}

  /** Makes the scheduler, and waits for so many rooms. */
  async create(request: object, rooms: number): Promise<void> {
    const { status, body } = await this.cluster.call('POST', '/schedulers', request);
    if (status !== 200) throw new Error(JSON.stringify(body));
    await this.becomes((all) => all.length === rooms && all.every(isFree));
  }

  async rooms(): Promise<RoomView[]> {
    const path = `/schedulers/${this.name}/rooms?perPage=100`;
    const { status, body } = await this.cluster.call<{ rooms: RoomView[] }>('GET', path);
    if (status !== 200) throw new Error(JSON.stringify(body));
    return body.rooms;
  }

  /** Waits until the rooms are as `isSo` says, validation rooms and those that go apart. Answers them. */
  async becomes(isSo: (rooms: RoomView[]) => boolean): Promise<RoomView[]> {
    return eventually(async () => {
      const rooms = (await this.rooms()).filter(
        ({ validation, status }) => !validation && status !== 'terminating' && status !== 'terminated',
      );
      if (!isSo(rooms)) throw new Error(`${await this.tell()}\n${JSON.stringify(rooms, null, 1)}`);
      return rooms;
    }, patience);
  }

  async activeVersion(): Promise<string> {
    return (await this.cluster.scheduler(this.name))?.version ?? '';
  }

  async becomesVersion(version: string): Promise<void> {
    await eventually(async () => {
      if ((await this.activeVersion()) !== version) throw new Error(await this.tell());
    }, patience);
  }

  /** A change of the scheduler. Answers the id of its operation. */
  async order(method: 'POST' | 'PATCH' | 'PUT' | 'DELETE', body?: object): Promise<string> {
    const path = `/schedulers/${this.name}`;
    const answer = await this.cluster.call<{ operationId: string }>(method, path, body);
    if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
    return answer.body.operationId;
  }

  /** Waits until the change is done. */
  async change(method: 'PATCH' | 'PUT', body: object): Promise<void> {
    const id = await this.order(method, body);
    await eventually(async () => {
      const operation = (await this.cluster.operations(this.name)).find((each) => each.id === id);
      if (operation?.status !== 'finished') throw new Error(JSON.stringify(operation));
    }, patience);
    // A new version is active only once its switch, an operation of its own, is over.
    await eventually(async () => {
      const changes = await this.operations('switch_active_version');
      if (changes.some(({ finishedAt }) => finishedAt === null)) throw new Error(JSON.stringify(changes));
    }, patience);
  }

  async operations(definition: StoredOperation['definition']): Promise<StoredOperation[]> {
    return (await this.cluster.operations(this.name)).filter((each) => each.definition === definition);
  }

  /** The process of each room, by its id. */
  processes(): Promise<Map<string, number>> {
    // A record that is deleted while it is read is no answer.
    return eventually(
      () =>
        new Map(
          roomRecords(this.cluster.state.path, this.name).flatMap(({ id, containers }) => {
            const pid = containers[0]?.pid ?? null;
            return pid === null ? [] : [[id, pid] as const];
          }),
        ),
    );
  }

  /** Somebody joins each of so many free rooms, or of these, and Maestro knows. */
  async play(where: number | readonly string[]): Promise<PlayedRoom[]> {
    const rooms = await this.rooms();
    const chosen =
      typeof where === 'number' ? rooms.filter(isFree).slice(0, where) : rooms.filter(({ id }) => where.includes(id));
    if (chosen.length !== (typeof where === 'number' ? where : where.length)) throw new Error(JSON.stringify(rooms));
    const pids = await this.processes();
    const joined = chosen.map(({ id, ports }) => ({ id, pid: pids.get(id)!, player: new Player(ports[0]!.port) }));
    for (const room of joined) this.joined.push(room);
    await this.becomes((all) =>
      joined.every(({ id }) => all.some((room) => room.id === id && room.status === 'occupied')),
    );
    for (const room of joined) this.played.set(room.id, room);
    return joined;
  }

  /** The match is over. */
  leave({ id, player }: PlayedRoom): void {
    this.played.delete(id);
    this.joined.splice(
      this.joined.findIndex((room) => room.id === id),
      1,
    );
    player.leave();
  }

  /**
   * Looks at the rooms again and again: those that somebody plays in are there, occupied, in the process in which they were; and
   * `findFaults` finds none.
   */
  watch(findFaults: (rooms: readonly RoomView[]) => string[] = () => []): void {
    this.watching = this.lookOn(findFaults).catch((error: unknown) => {
      this.violations.push(`nobody looked on: ${String(error)}`);
    });
  }

  /** Ends the watch, and lets everybody go. */
  async end(): Promise<void> {
    this.isOver = true;
    await this.watching;
    for (const room of [...this.joined]) this.leave(room);
  }

  private async lookOn(findFaults: (rooms: readonly RoomView[]) => string[]): Promise<void> {
    // The first one says enough.
    while (!this.isOver && this.violations.length === 0) {
      // Who leaves while the rooms are read was there before.
      const played = [...this.played.values()];
      const rooms = await this.rooms();
      this.looks += 1;
      for (const { id, pid } of played.filter((room) => this.played.get(room.id) === room)) {
        const room = rooms.find((each) => each.id === id);
        if (room?.status !== 'occupied' || !isAlive(pid)) {
          this.violations.push(`somebody plays in ${id} (${pid}), and it is ${JSON.stringify(room)}`);
        }
      }
      this.violations.push(...findFaults(rooms).map((fault) => `${fault}: ${JSON.stringify(rooms)}`));
      await sleep(20);
    }
  }

  /** What has happened to the scheduler. */
  private async tell(): Promise<string> {
    const scheduler = await this.cluster.scheduler(this.name);
    const operations = await this.cluster.operations(this.name);
    const lines = operations.map(({ definition, status, events }) => `${definition} ${status}: ${events.join(' | ')}`);
    return [...this.violations, JSON.stringify(scheduler), ...lines].join('\n');
  }
}
