import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { DomainError, messageOf } from '../domain/errors';
import { obsoleteKeys, settings, type Config, type Setting } from './settings';

export interface ConfigSources {
  environment: Readonly<Record<string, string | undefined>>;
  /** A YAML file in v10's layout; absent when none was named. */
  filePath?: string;
  /**
   * v10's `api.port` (`MAESTRO_API_PORT`) is the port of the one API role that runs; it means nothing when both or none do.
   */
  apiRole?: 'management-api' | 'rooms-api';
}

export interface LoadedConfig {
  config: Config;
  /** Sentences worth a log line: obsolete or unknown variables, values that were passed over. */
  remarks: string[];
}

const prefix = 'MAESTRO_';

/**
 * Reads and checks every setting.
 * @throws DomainError `config.invalid` (invalid_argument) whose message has a line per bad value, naming variable and rule.
 */
export function loadConfig(sources: ConfigSources): LoadedConfig {
  const file = sources.filePath === undefined ? new Map<string, string>() : readFile(sources.filePath);
  const remarks: string[] = [];
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(settings) as [string, Setting<unknown>][]) {
    const found = lookUp(keysOf(name, setting, sources.apiRole), sources.environment, file, remarks);
    const text = found?.text ?? setting.default;
    if (text === undefined) continue;
    const parsed = setting.schema.safeParse(text);
    if (parsed.success) values[name] = parsed.data;
    else problems.push(`${found?.source ?? setting.key}: ${parsed.error.issues[0]?.message ?? 'is not valid'}`);
  }
  if (problems.length > 0) {
    throw new DomainError('invalid_argument', 'config.invalid', `invalid configuration:\n  ${problems.join('\n  ')}`);
  }
  if (sources.apiRole === undefined) remarks.push(...remarksOnApiPort(sources.environment, file));
  remarks.push(...remarksOnUnknown(sources.environment, file));
  return { config: Object.freeze(values) as Config, remarks };
}

/** The variable that sets a key: v10's rule. */
export function variableOf(key: string): string {
  return prefix + key.toUpperCase().replaceAll('.', '_');
}

function keysOf(name: string, setting: Setting<unknown>, apiRole: ConfigSources['apiRole']): string[] {
  const ownApi =
    (name === 'managementApiPort' && apiRole === 'management-api') ||
    (name === 'roomsApiPort' && apiRole === 'rooms-api');
  return [setting.key, ...(setting.aliases ?? []), ...(ownApi ? ['api.port'] : [])];
}

function lookUp(
  keys: string[],
  environment: ConfigSources['environment'],
  file: ReadonlyMap<string, string>,
  remarks: string[],
): { text: string; source: string } | undefined {
  for (const key of keys) {
    const variable = variableOf(key);
    const text = environment[variable];
    if (text === undefined || text === '') continue;
    if (isServiceLink(text)) {
      remarks.push(`${variable} is a Kubernetes service link, not a setting: passed over`);
      continue;
    }
    return { text, source: variable };
  }
  for (const key of keys) {
    const text = file.get(key.toLowerCase());
    if (text !== undefined && text !== '') return { text, source: `${key} (file)` };
  }
  return undefined;
}

/** Kubernetes sets `<SERVICE>_PORT=tcp://10.0.0.1:8080` for every service, also for one that is called `maestro-api`. */
function isServiceLink(text: string): boolean {
  return /^(tcp|udp|sctp):\/\//.test(text);
}

function readFile(path: string): Map<string, string> {
  let document: unknown;
  try {
    document = parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new DomainError(
      'invalid_argument',
      'config.file_unreadable',
      // The parser's further lines quote the file, which may hold a password.
      `cannot read the configuration file ${path}: ${messageOf(error).split('\n')[0]}`,
    );
  }
  const values = new Map<string, string>();
  flatten(document, '', values);
  return values;
}

/** Keys in lower case, because v10's are case-insensitive. */
function flatten(value: unknown, path: string, into: Map<string, string>): void {
  if (value === null || value === undefined) return;
  if (Array.isArray(value)) {
    into.set(path, value.join(','));
  } else if (typeof value === 'object') {
    for (const [key, child] of Object.entries(value)) {
      flatten(child, path === '' ? key.toLowerCase() : `${path}.${key.toLowerCase()}`, into);
    }
  } else if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
    into.set(path, String(value));
  }
}

function remarksOnApiPort(environment: ConfigSources['environment'], file: ReadonlyMap<string, string>): string[] {
  const own = ['managementApi.port', 'roomsApi.port'].map(variableOf).join(' or ');
  return lookUp(['api.port'], environment, file, []) === undefined
    ? []
    : [`${variableOf('api.port')} is passed over: it is the port of the one API role of a process; set ${own}`];
}

function remarksOnUnknown(environment: ConfigSources['environment'], file: ReadonlyMap<string, string>): string[] {
  const known = new Set(
    (Object.values(settings) as Setting<unknown>[]).flatMap((setting) => [setting.key, ...(setting.aliases ?? [])]),
  );
  known.add('api.port');
  const knownVariables = new Set([...known].map(variableOf));
  const obsolete = new Map(Object.entries(obsoleteKeys).map(([key, reason]) => [variableOf(key), reason]));
  const fileVariables = [...file.keys()].map((key) => ({ name: `${key} (file)`, variable: variableOf(key) }));
  const set = Object.keys(environment)
    .filter((name) => name.startsWith(prefix))
    .filter((name) => !/_SERVICE_(HOST|PORT)|_PORT_\d+_(TCP|UDP)/.test(name))
    .filter((name) => !isServiceLink(environment[name] ?? ''))
    .map((name) => ({ name, variable: name }));
  return [...set, ...fileVariables]
    .filter(({ variable }) => !knownVariables.has(variable))
    .map(({ name, variable }) => {
      const reason = obsolete.get(variable);
      return reason === undefined ? `${name} is not a setting of this version` : `${name} has no effect: ${reason}`;
    });
}
