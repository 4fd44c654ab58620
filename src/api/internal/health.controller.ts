import { All, Controller, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Logger } from '../../ports/logger';
import { ReadinessChecks } from './readiness-checks';

const plainText = 'text/plain; charset=utf-8';

/** What probes ask, with any verb (`management.md` 1.9). */
@Controller()
export class HealthController {
  constructor(
    private readonly checks: ReadinessChecks,
    private readonly logger: Logger,
  ) {}

  /** Liveness: that this answers is the answer. */
  @All(['health', 'healthz'])
  health(@Res() reply: FastifyReply): void {
    void reply.code(200).type(plainText).send('OK');
  }

  @All('readyz')
  async readyz(@Res() reply: FastifyReply): Promise<void> {
    const { ok, failed } = await this.checks.check();
    if (!ok) this.logger.warn({ failed }, 'not ready');
    await reply
      .code(ok ? 200 : 503)
      .type(plainText)
      .send(ok ? 'OK' : 'Service Unavailable');
  }
}
