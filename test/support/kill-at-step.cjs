/**
 * Preloaded into a process under test (`NODE_OPTIONS=--require`, see `step-traps.ts`): an operation that comes to a boundary
 * where a trap lies stays there, and the process ends as by a power cut when its other operations have come to rest too, in
 * traps or at their ends. So one death serves many traps, and interrupts little else. Only one process wins the rename: each
 * trap catches once.
 */
const { subscribe } = require('node:diagnostics_channel');
const { renameSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');

/** At rest: no operation came to a boundary for this long. */
const restMs = 800;
/** What does not come to rest is cut off. */
const patienceMs = 4_000;

const directory = process.env.STEP_TRAPS_DIRECTORY;
const die = () => process.kill(process.pid, 'SIGKILL');
let dying = null;

subscribe('maestro:operation-step', ({ scheduler, definition, step, edge, operationId, holds }) => {
  dying?.refresh();
  const name = encodeURIComponent(JSON.stringify({ scheduler, definition, step, edge }));
  const sprung = join(directory, 'sprung', name);
  try {
    renameSync(join(directory, 'armed', name), sprung);
  } catch (error) {
    if (error.code === 'ENOENT') return;
    throw error;
  }
  writeFileSync(sprung, operationId);
  holds.push(new Promise(() => undefined));
  if (dying !== null) return;
  dying = setTimeout(die, restMs);
  setTimeout(die, patienceMs);
});
