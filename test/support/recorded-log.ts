import { Logger } from '../../src/ports/logger';

export interface LogLine {
  level: 'error' | 'warn' | 'info' | 'debug';
  fields: Record<string, unknown>;
  message: string;
}

/** A logger that remembers its lines, those of its children included. */
export class RecordedLog extends Logger {
  constructor(
    readonly lines: LogLine[] = [],
    private readonly own: Record<string, unknown> = {},
  ) {
    super();
  }

  error(fields: object, message: string): void {
    this.add('error', fields, message);
  }
  warn(fields: object, message: string): void {
    this.add('warn', fields, message);
  }
  info(fields: object, message: string): void {
    this.add('info', fields, message);
  }
  debug(fields: object, message: string): void {
    this.add('debug', fields, message);
  }
  child(fields: Record<string, unknown>): Logger {
    return new RecordedLog(this.lines, { ...this.own, ...fields });
  }

  private add(level: LogLine['level'], fields: object, message: string): void {
    this.lines.push({ level, fields: { ...this.own, ...fields }, message });
  }
}
