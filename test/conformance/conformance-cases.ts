import { defaults } from './cases/defaults';
import { extensions } from './cases/extensions';
import { jsonMapping } from './cases/json-mapping';
import { operationRoutes } from './cases/operation-routes';
import { patches } from './cases/patches';
import { routing } from './cases/routing';
import { schedulerRoutes } from './cases/scheduler-routes';
import { validation } from './cases/validation';
import { versions } from './cases/versions';
import type { ConformanceGroup } from './conformance-case';

/** Every case, in the order of the specification. */
export const conformanceGroups: readonly ConformanceGroup[] = [
  ...jsonMapping,
  ...routing,
  ...schedulerRoutes,
  ...operationRoutes,
  ...defaults,
  ...validation,
  ...versions,
  ...patches,
  ...extensions,
].toSorted((one, other) => one.section.localeCompare(other.section, 'en'));
