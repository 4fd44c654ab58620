/** The environment of this process, handed to whoever is allowed a part of it (rooms get PATH and the like). */
export function processEnvironment(): Readonly<Record<string, string | undefined>> {
  return { ...process.env };
}
