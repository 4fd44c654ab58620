import 'reflect-metadata';
import type { DynamicModule, Provider, Type } from '@nestjs/common';
import type { OpenAPIObject } from '@nestjs/swagger';
import type { Logger } from '../../ports/logger';
import { createHttpApplication } from '../http/http-application';
import { ManagementApiModule, managementOpenApi } from '../management/management-api.module';
import { RoomsApiModule, roomsOpenApi } from '../rooms/rooms-api.module';
import { buildOpenApiDocument } from './open-api-document';
import type { OpenApiTitle } from './open-api-document';

type ApiModule = { register(features: { providers: Provider[] }): DynamicModule };

const apis: Readonly<Record<string, [ApiModule, OpenApiTitle]>> = {
  management: [ManagementApiModule, managementOpenApi],
  rooms: [RoomsApiModule, roomsOpenApi],
};

/**
 * The documents of the APIs by name, as `/docs-json` serves them, without anything that would have to run: `docs/openapi` is
 * made of them by `npm run generate`.
 */
export async function committedDocuments(): Promise<Record<string, OpenAPIObject>> {
  const documents: Record<string, OpenAPIObject> = {};
  for (const [name, [module, title]] of Object.entries(apis)) {
    const app = await createHttpApplication(module.register({ providers: standIns(module) }), { logger: silence });
    documents[name] = buildOpenApiDocument(app, title);
    await app.close();
  }
  return documents;
}

/** Something for each feature that a handler of the module asks for in its constructor. No route is called. */
function standIns(module: ApiModule): Provider[] {
  return (module.register({ providers: [] }).providers ?? []).flatMap((handlers) => {
    const needs = (Reflect.getMetadata('design:paramtypes', handlers as Type) ?? []) as Type[];
    return needs.map((provide) => ({ provide, useValue: {} }));
  });
}

const silence: Logger = {
  error: () => undefined,
  warn: () => undefined,
  info: () => undefined,
  debug: () => undefined,
  child: () => silence,
};
