import { healthRecordFormat, type HealthRecord } from '../../ports/health-records';

/** How a record is stored: with the number of its shape, by which another release finds that it is not of its own. */
export function composeHealthRecordText(record: HealthRecord): string {
  return JSON.stringify({ format: healthRecordFormat, record });
}

/** Null for a text that holds no record of this release's shape. */
export function readHealthRecordText(text: string): HealthRecord | null {
  const { format, record } = fieldsOf(parse(text));
  return format === healthRecordFormat && isHealthRecord(record) ? record : null;
}

/** Not each field is looked at: what has the number was written by a release that knows the shape. */
function isHealthRecord(value: unknown): value is HealthRecord {
  const { createdAtMs, seenAtMs, version, inputs, notes, actions, blockedBy, rollout, memory } = fieldsOf(value);
  const { remembered, webhookAnswers, rolloutSamples } = fieldsOf(memory);
  return (
    typeof createdAtMs === 'number' &&
    typeof seenAtMs === 'number' &&
    typeof version === 'string' &&
    [inputs, webhookAnswers].every(isObject) &&
    (rollout === null || isObject(rollout)) &&
    [notes, actions, blockedBy, remembered, rolloutSamples].every((list) => Array.isArray(list))
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return isObject(value) ? value : {};
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
