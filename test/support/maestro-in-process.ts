import type { DataSource } from 'typeorm';
import { migratePostgres } from '../../src/adapters/postgres/data-source';
import { loadConfig } from '../../src/config/load-config';
import type { Config } from '../../src/config/settings';
import { DomainError } from '../../src/domain/errors';
import type { Instance } from '../../src/domain/room/room';
import type { RoomStore } from '../../src/ports/room-store';
import type { InstanceSpec, RuntimeInstance } from '../../src/ports/runtime';
import { bootRoles } from '../../src/roles/boot-roles';
import { openResources } from '../../src/roles/process-resources';
import type { Role } from '../../src/roles/role';
import { startTestPostgres, startTestRedis } from './embedded-servers';
import { FakeRuntime } from './fake-runtime';
import { freePorts, temporaryStateDirectory, type Ports } from './maestro-process';
import { crashingImage, silentImage, stuckNamePrefix, takenNamePrefix } from './pretend-names';
import { RecordedLog } from './recorded-log';

export interface MaestroInProcess {
  ports: Ports;
  log: RecordedLog;
  runtime: PretendRuntime;
  /** As this process reaches it. */
  rooms: RoomStore;
  /** What a test looks up behind the APIs' back. */
  sql<R = Record<string, unknown>>(text: string, parameters?: unknown[]): Promise<R[]>;
  close(): Promise<void>;
}

/**
 * Roles of Maestro in the test's process as `maestro start` boots them: real databases, their own unless some are given, real ports. Only the
 * rooms are pretended: instances run at once, and ping `ready` over the rooms API where that role is among them.
 */
export async function startMaestroInProcess(
  roles: readonly Role[],
  environment: Record<string, string> = {},
  servers?: { postgresUrl: string; redisUrl: string },
): Promise<MaestroInProcess> {
  const closers: (() => unknown)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const { postgresUrl, redisUrl } = servers ?? (await startServers(closers));
    const state = temporaryStateDirectory();
    closers.push(() => state.remove());
    const configOn = (ports: Ports): Config =>
      loadConfig({
        environment: {
          MAESTRO_MANAGEMENTAPI_PORT: String(ports.management),
          MAESTRO_MANAGEMENTAPI_GRPCPORT: String(ports.managementGrpc),
          MAESTRO_ROOMSAPI_PORT: String(ports.rooms),
          MAESTRO_ROOMSAPI_GRPCPORT: String(ports.roomsGrpc),
          MAESTRO_INTERNALAPI_PORT: String(ports.internal),
          MAESTRO_STATE_DIRECTORY: state.path,
          ...environment,
        },
      }).config;
    const log = new RecordedLog();
    const resources = await openResources(configOn(await freePorts()), log, {
      postgresUrl,
      redisUrl,
      processName: 'maestro-in-test',
      environment: {},
    });
    closers.push(() => resources.close());
    const runtime = new PretendRuntime();
    closers.push(() => runtime.close());
    await migratePostgres(resources.dataSource);
    const { running, ports } = await onFreePorts((ports) =>
      bootRoles(roles, {
        ...resources,
        config: configOn(ports),
        runtime: runtime,
      }),
    );
    closers.push(() => running.stopAll());
    // Before the roles stop: they wait for the operation that waits for it.
    closers.push(() => runtime.release());
    if (roles.includes('rooms-api')) {
      const pings = new Pings(runtime, ports.rooms);
      closers.push(() => pings.stop());
    }
    return {
      ports,
      log,
      runtime,
      rooms: resources.roomStore,
      sql: (text, parameters) => query(resources.dataSource, text, parameters),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function startServers(closers: (() => unknown)[]): Promise<{ postgresUrl: string; redisUrl: string }> {
  const [postgres, redis] = await Promise.all([startTestPostgres(), startTestRedis()]);
  closers.push(
    () => postgres.stop(),
    () => redis.stop(),
  );
  return { postgresUrl: postgres.url, redisUrl: redis.url };
}

/** A port that was free a moment ago may be anyone's by now, also that of an outgoing connection: then others are tried. */
async function onFreePorts<T>(start: (ports: Ports) => Promise<T>): Promise<{ running: T; ports: Ports }> {
  for (let tries = 1; ; tries++) {
    const ports = await freePorts();
    try {
      return { running: await start(ports), ports };
    } catch (error) {
      if (!(error instanceof DomainError && error.code === 'port.in_use') || tries === 5) throw error;
    }
  }
}

function query<R>(dataSource: DataSource, text: string, parameters: unknown[] = []): Promise<R[]> {
  return dataSource.query<R[]>(text, parameters);
}

/** Instances run and end at once; `pretend-names.ts` makes it misbehave. */
class PretendRuntime extends FakeRuntime {
  private letGo: () => void = () => undefined;
  private readonly released = new Promise<void>((resolve) => (this.letGo = resolve));

  constructor() {
    super({ readyAtOnce: true, endsAtOnce: true });
  }

  /** What is stuck ends. */
  release(): void {
    this.letGo();
  }

  override async createScheduler(name: string, owner: string): Promise<'created' | 'already_ours'> {
    if (name.startsWith(stuckNamePrefix)) await this.released;
    if (name.startsWith(takenNamePrefix)) await super.createScheduler(name, 'somebody else').catch(() => undefined);
    return super.createScheduler(name, owner);
  }

  override async createInstance(spec: InstanceSpec): Promise<RuntimeInstance> {
    const instance = await super.createInstance(spec);
    if (hasImage(spec, crashingImage)) this.report(spec.id, { status: 'error', description: 'it crashed' });
    return instance;
  }
}

const hasImage = ({ containers }: InstanceSpec, image: string): boolean =>
  containers.some((container) => container.image === image);

const pingIntervalMs = 25;

/** What the game servers in the rooms would do: each pings until it was heard. None lives long enough to be missed again. */
class Pings {
  private readonly timer: NodeJS.Timeout;
  private readonly heard = new Set<string>();
  private round: Promise<unknown> | null = null;

  constructor(
    private readonly runtime: PretendRuntime,
    private readonly port: number,
  ) {
    this.timer = setInterval(() => {
      this.round ??= this.pingAll().finally(() => (this.round = null));
    }, pingIntervalMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.round;
  }

  private async pingAll(): Promise<void> {
    const waiting = (await this.runtime.listInstances()).filter(
      ({ id, status }) => status === 'ready' && !this.heard.has(id) && !hasImage(this.runtime.specOf(id), silentImage),
    );
    await Promise.all(waiting.map((instance) => this.ping(instance)));
  }

  private async ping({ scheduler, id }: Instance): Promise<void> {
    const answer = await fetch(`http://127.0.0.1:${this.port}/scheduler/${scheduler}/rooms/${id}/ping`, {
      method: 'PUT',
      body: JSON.stringify({ status: 'ready', timestamp: String(Math.floor(Date.now() / 1000)) }),
    });
    const { success } = (await answer.json()) as { success?: boolean };
    // Before its record is there it is not heard, and tries again.
    if (success === true) this.heard.add(id);
  }
}
