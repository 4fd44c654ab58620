import type { OpenAPIObject } from '@nestjs/swagger';

/** @nestjs/swagger exports the document's type only; these are its parts. */
export type Schema = NonNullable<NonNullable<OpenAPIObject['components']>['schemas']>[string];
export interface ReferenceObject {
  $ref: string;
}
export type SchemaObject = Exclude<Schema, ReferenceObject>;
