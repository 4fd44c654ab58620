/**
 * Names the machines that rooms of one kind may use where affinity and toleration decide that. It reads after "rooms with".
 * Equal placements have equal names, and others never.
 */
export function hostPoolOf({ affinity, toleration }: { affinity: string; toleration: string }): string {
  return `${named('affinity', affinity)} and ${named('toleration', toleration)}`;
}

function named(kind: string, value: string): string {
  return value === '' ? `no ${kind}` : `${kind} ${JSON.stringify(value)}`;
}
