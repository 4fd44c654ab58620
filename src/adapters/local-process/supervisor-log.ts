import { appendFileSync } from 'node:fs';
import { rotateByCopy } from './rotated-file';

/** The supervisor's own log: one JSON text per line, bounded in size. It has no client to tell its troubles to. */
export class SupervisorLog {
  constructor(
    private readonly path: string,
    private readonly maxBytes: number,
  ) {}

  info(fields: object, message: string): void {
    this.write('info', fields, message);
  }

  warn(fields: object, message: string): void {
    this.write('warn', fields, message);
  }

  error(fields: object, message: string): void {
    this.write('error', fields, message);
  }

  private write(level: string, fields: object, message: string): void {
    const line = JSON.stringify({ time: new Date().toISOString(), level, pid: process.pid, ...fields, message });
    try {
      appendFileSync(this.path, line + '\n');
      rotateByCopy(this.path, this.maxBytes, 2);
    } catch {
      // A full disk or a removed folder must not end the supervisor.
    }
  }
}
