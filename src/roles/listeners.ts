import { createServer } from 'node:net';
import { variableOf } from '../config/load-config';
import type { Config } from '../config/settings';
import { DomainError, messageOf } from '../domain/errors';
import type { Role } from './role';

export interface Listener {
  /** 0: any free port. */
  port: number;
  /** The setting that moves it. */
  portKey: string;
}

/** What listens in a process: an API over REST, or over gRPC. */
export type ListenerName = 'management-api' | 'management-api/grpc' | 'rooms-api' | 'rooms-api/grpc' | 'internal';

export function listenerOf(name: ListenerName, config: Config): Listener {
  switch (name) {
    case 'management-api':
      return { port: config.managementApiPort, portKey: 'managementApi.port' };
    case 'management-api/grpc':
      return { port: config.managementApiGrpcPort, portKey: 'managementApi.grpcPort' };
    case 'rooms-api':
      return { port: config.roomsApiPort, portKey: 'roomsApi.port' };
    case 'rooms-api/grpc':
      return { port: config.roomsApiGrpcPort, portKey: 'roomsApi.grpcPort' };
    case 'internal':
      return { port: config.internalApiPort, portKey: 'internalApi.port' };
  }
}

/**
 * Binds each port that the roles will listen on, and lets it go again: who starts twice is told before anything is started.
 * Another program may still take one before the roles do; they say the same then.
 *
 * @throws DomainError as `listenFailure` makes it.
 */
export async function assertPortsFree(roles: readonly Role[], config: Config): Promise<void> {
  const names: ListenerName[] = ['internal'];
  if (roles.includes('management-api')) names.push('management-api', 'management-api/grpc');
  if (roles.includes('rooms-api')) names.push('rooms-api', 'rooms-api/grpc');
  for (const name of names) {
    const listener = listenerOf(name, config);
    if (listener.port !== 0) await probe(listener, config.host);
  }
}

/** DomainError `port.in_use`, or `port.unusable` for what else keeps us from listening. */
export function listenFailure(error: unknown, { port, portKey }: Listener, host: string): DomainError {
  if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') {
    return new DomainError(
      'failed_precondition',
      'port.in_use',
      `port ${port} on ${host} is in use: stop what listens there, or choose another one with ${variableOf(portKey)}`,
      { cause: error },
    );
  }
  return new DomainError('internal', 'port.unusable', `cannot listen on ${host}:${port}: ${messageOf(error)}`, {
    cause: error,
  });
}

function probe(listener: Listener, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error) => reject(listenFailure(error, listener, host)));
    server.listen({ port: listener.port, host, exclusive: true }, () => server.close(() => resolve()));
  });
}
