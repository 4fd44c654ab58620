import { refuseForeignCaller } from '../api/http/origin-guard';
import type { Config } from '../config/settings';
import { messageOf } from '../domain/errors';
import { pause } from '../features/repeat-until-aborted';
import type { Logger } from '../ports/logger';
import type { Role } from './role';

/** How long a runtime that could not be used is left before it is asked again. Milliseconds. */
const askAgainMs = 10_000;

const loopbackHosts: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '::1']);

type Reach = Pick<Config, 'runtime' | 'roomsApiPublicUrl' | 'roomsApiGrpcPublicAddress' | 'allowedHosts' | 'host'>;

/** What starts all the same, and yet keeps rooms in the cluster from reaching the rooms API: sentences. */
export function remarksOnReach(roles: readonly Role[], config: Reach): string[] {
  if (config.runtime !== 'kubernetes' || !roles.includes('worker')) return [];
  const { roomsApiPublicUrl: url, allowedHosts, host } = config;
  const remarks: string[] = [];
  if (url === undefined)
    remarks.push('rooms are told no address of the rooms API: MAESTRO_ROOMSAPI_PUBLICURL is not set');
  if (config.roomsApiGrpcPublicAddress === undefined) {
    remarks.push(
      'rooms are told no gRPC address of the rooms API (MAESTRO_ROOMS_GRPC_ADDRESS): MAESTRO_ROOMSAPI_GRPCPUBLICADDRESS is not set',
    );
  }
  // Elsewhere the rooms API has settings of its own.
  if (!roles.includes('rooms-api')) return remarks;
  if (loopbackHosts.has(host)) {
    remarks.push(`the rooms API listens on ${host} only: no pod can reach it, set MAESTRO_API_HOST`);
  }
  if (url !== undefined && refuseForeignCaller({ host: new URL(url).host }, allowedHosts) !== null) {
    remarks.push(
      `the rooms API refuses what is addressed to ${new URL(url).host}, which MAESTRO_ROOMSAPI_PUBLICURL tells the rooms: add it to MAESTRO_API_ALLOWEDHOSTS`,
    );
  }
  return remarks;
}

/** Tells once that the runtime cannot be used, and once that it can again. Ends then, or with `signal`; does not fail. */
export async function tellUntilUsable(check: () => Promise<void>, logger: Logger, signal: AbortSignal): Promise<void> {
  const beganMs = performance.now();
  let wasTold = false;
  while (!signal.aborted) {
    try {
      await check();
      if (wasTold && !signal.aborted) {
        logger.info({ unusable_ms: Math.round(performance.now() - beganMs) }, 'the runtime can be used again');
      }
      return;
    } catch (error) {
      if (!wasTold) {
        logger.error({ err: messageOf(error) }, 'the runtime cannot be used now; it is tried again and again');
      }
      wasTold = true;
    }
    await pause(askAgainMs, signal);
  }
}
