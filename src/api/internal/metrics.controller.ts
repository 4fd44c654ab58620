import { All, Controller, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Registry } from 'prom-client';

/** Everything that this process measures, as Prometheus text. */
@Controller()
export class MetricsController {
  constructor(private readonly registry: Registry) {}

  @All('metrics')
  async metrics(@Res() reply: FastifyReply): Promise<void> {
    const text = await this.registry.metrics();
    await reply.code(200).type(this.registry.contentType).send(text);
  }
}
