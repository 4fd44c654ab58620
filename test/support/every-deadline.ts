import { operationDefinitions, type OperationDefinition } from '../../src/domain/operation/operation';

/** The same deadline for every kind of operation. */
export function everyDeadline(ms: number): Record<OperationDefinition, number> {
  return Object.fromEntries(operationDefinitions.map((definition) => [definition, ms])) as Record<
    OperationDefinition,
    number
  >;
}
