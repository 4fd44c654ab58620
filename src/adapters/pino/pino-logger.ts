import pino, { type DestinationStream } from 'pino';
import pretty from 'pino-pretty';
import type { Logger } from '../../ports/logger';

/** v10's presets: `production` is JSON lines, `development` is for a person at a terminal. */
export type LogPreset = 'production' | 'development';

/** A pino logger is our `Logger` as it is; errors under `err` keep their stack, which goes nowhere but here. */
export function createLogger(preset: LogPreset, level: string): Logger {
  const options: pino.LoggerOptions = {
    level,
    base: undefined,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  };
  const destination: DestinationStream =
    preset === 'development'
      ? pretty({ colorize: process.stdout.isTTY, translateTime: 'SYS:HH:MM:ss.l', sync: true })
      : pino.destination({ dest: 1, sync: true });
  return pino(options, destination);
}
