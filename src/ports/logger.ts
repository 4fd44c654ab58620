/**
 * Where log lines go. The fields carry the ids (`scheduler_name`, `room_id`, `operation_id`: v10's names, so that log
 * queries keep working); the message is constant text. A pino logger keeps this promise as it is.
 * error = someone must act; warn = it heals itself but look; info = life events; debug = everything else.
 */
export abstract class Logger {
  abstract error(fields: object, message: string): void;
  abstract warn(fields: object, message: string): void;
  abstract info(fields: object, message: string): void;
  abstract debug(fields: object, message: string): void;
  abstract child(fields: Record<string, unknown>): Logger;
}
