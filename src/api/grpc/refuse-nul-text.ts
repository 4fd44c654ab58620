import { ScalarType } from '@bufbuild/protobuf';
import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { malformedField } from '../http/protojson';

/** Which fields of a message hold text somewhere; found once per message type. */
const fieldsWithText = new WeakMap<DescMessage, readonly DescField[]>();

/**
 * Refuses a NUL character in any text of a message, as `decodeMessage` does for JSON: PostgreSQL cannot hold it, and a
 * request would fail for a reason that its caller cannot see. Well-known types are left to whoever uses them, as there.
 *
 * @throws DomainError `request.malformed` (invalid_argument) that names the field by its path.
 */
export function refuseNulText(desc: DescMessage, message: object, path = ''): void {
  const values = message as Readonly<Record<string, unknown>>;
  for (const field of textFieldsOf(desc)) {
    const where = path === '' ? field.jsonName : `${path}.${field.jsonName}`;
    const value = valueOf(field, values);
    if (value === undefined) continue;
    if (field.fieldKind === 'list') {
      (value as unknown[]).forEach((item, index) => check(field, item, `${where}[${index}]`));
    } else if (field.fieldKind === 'map') {
      for (const [key, item] of Object.entries(value as object)) {
        refuseNul(key, where);
        check(field, item, `${where}.${key}`);
      }
    } else check(field, value, where);
  }
}

function valueOf(field: DescField, values: Readonly<Record<string, unknown>>): unknown {
  if (field.oneof === undefined) return values[field.localName];
  const chosen = values[field.oneof.localName] as { case?: string; value?: unknown };
  return chosen.case === field.localName ? chosen.value : undefined;
}

function check(field: DescField, value: unknown, path: string): void {
  if (field.message) {
    if (!isWellKnown(field.message)) refuseNulText(field.message, value as object, path);
  } else if (typeof value === 'string') refuseNul(value, path);
}

function refuseNul(text: string, path: string): void {
  if (text.includes('\0')) throw malformedField(path, 'text must not contain a NUL character');
}

function textFieldsOf(desc: DescMessage): readonly DescField[] {
  let fields = fieldsWithText.get(desc);
  if (fields === undefined) {
    fields = desc.fields.filter((field) =>
      field.message
        ? field.fieldKind === 'map' || !isWellKnown(field.message)
        : field.scalar === ScalarType.STRING || field.fieldKind === 'map',
    );
    fieldsWithText.set(desc, fields);
  }
  return fields;
}

function isWellKnown(desc: DescMessage): boolean {
  return desc.typeName.startsWith('google.protobuf.');
}
