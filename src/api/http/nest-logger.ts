import type { LoggerService } from '@nestjs/common';
import type { Logger } from '../../ports/logger';

/**
 * Nest's own lines, through our logger. Nest keeps one logger for the whole process: whichever application is made last
 * decides, so all should get this one. What Nest calls `log` (a line per module and route) is debug here.
 */
export function nestLogger(logger: Logger): LoggerService {
  const fields = (details: unknown[]): object => {
    const context = details.at(-1);
    const rest = details.slice(0, -1).filter((detail) => detail !== undefined);
    return { nest_context: context, ...(rest.length > 0 ? { details: rest } : {}) };
  };
  return {
    fatal: (message: unknown, ...details: unknown[]) => logger.error(fields(details), `nest: ${String(message)}`),
    error: (message: unknown, ...details: unknown[]) => logger.error(fields(details), `nest: ${String(message)}`),
    warn: (message: unknown, ...details: unknown[]) => logger.warn(fields(details), `nest: ${String(message)}`),
    log: (message: unknown, ...details: unknown[]) => logger.debug(fields(details), `nest: ${String(message)}`),
    debug: (message: unknown, ...details: unknown[]) => logger.debug(fields(details), `nest: ${String(message)}`),
    verbose: () => undefined,
  };
}
