import type { ContainerEnd } from './room';

/** `container "game" ended with code 137 (OOMKilled)`. */
export function printContainerEnd({ container, exitCode, reason }: Omit<ContainerEnd, 'atMs'>): string {
  // `Error` and `Completed` say no more than the code; `OOMKilled` does.
  const why = reason === '' || reason === 'Error' || reason === 'Completed' ? '' : ` (${reason})`;
  return `container "${container}" ended with code ${exitCode}${why}`;
}
