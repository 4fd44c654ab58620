import { create, isMessage } from '@bufbuild/protobuf';
import type { JsonValue, Message } from '@bufbuild/protobuf';
import { PatchSchedulerRequestSchema } from '../../proto/gen/api/v1/schedulers_pb';
import { PatchSchedulerExtensionsSchema } from '../../proto/gen/maestro/extensions/v1/patch_scheduler_extensions_pb';

/**
 * Says `annotations: {}` and `labels: {}` of a patch's JSON as `extensions.clear`: v10 clears by them, and in a message an empty
 * map is none. Other messages are left as they are.
 */
export function clearEmptyMaps(message: Message, json: JsonValue): void {
  if (!isMessage(message, PatchSchedulerRequestSchema) || !isObject(json)) return;
  for (const name of ['annotations', 'labels'] as const) {
    const isGiven = isObject(json[name]);
    if (!isGiven || Object.keys(message[name]).length > 0) continue;
    const extensions = (message.extensions ??= create(PatchSchedulerExtensionsSchema));
    if (!extensions.clear.includes(name)) extensions.clear.push(name);
  }
}

function isObject(json: JsonValue | undefined): json is Record<string, JsonValue> {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}
