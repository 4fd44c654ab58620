import type { INestApplication } from '@nestjs/common';
import { SwaggerModule } from '@nestjs/swagger';
import type { OpenAPIObject } from '@nestjs/swagger';
import { buildOpenApiDocument } from './open-api-document';
import type { OpenApiTitle } from './open-api-document';

/**
 * Swagger UI at `/docs` (its files come with us, so it works offline) and the document at `/docs-json`. Call it before the
 * application is initialised. The document is made when it is first asked for: it costs nothing at start-up.
 */
export function serveOpenApi(app: INestApplication, title: OpenApiTitle): void {
  let document: OpenAPIObject | undefined;
  SwaggerModule.setup('docs', app, () => (document ??= buildOpenApiDocument(app, title)), {
    raw: ['json'],
    customSiteTitle: title.title,
    // Examples show up filled in, and nothing is sent to a validator on the internet.
    swaggerOptions: { tryItOutEnabled: true, validatorUrl: null, displayRequestDuration: true },
  });
}
