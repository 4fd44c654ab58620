import { Injectable } from '@nestjs/common';
import { messageOf } from '../../domain/errors';
import { composePlayerEvent, composeRoomEvent, composeStatusEvent } from '../../domain/event/compose-event';
import { composeForwardingAnswer, type ForwardingAnswer } from '../../domain/event/compose-forwarding-answer';
import { codeOfDelivery, type DeliveryOutcome } from '../../domain/event/delivery';
import type { EventMessage, GameEvent } from '../../domain/event/event';
import { needsRoom, planForwarding, type ForwardingFacts } from '../../domain/event/plan-forwarding';
import type { Forwarder } from '../../domain/scheduler/scheduler';
import { EventForwarder } from '../../ports/event-forwarder';
import { Logger } from '../../ports/logger';
import { Metrics } from '../../ports/metrics';
import { RoomStore } from '../../ports/room-store';
import type { SchedulerSettings } from '../../ports/scheduler-store';
import { SchedulerSettingsCache } from '../schedulers/scheduler-settings';

/** A JSON object that the room sent along; null when it sent none. */
export type EventMetadata = Record<string, unknown> | null;

interface Origin {
  scheduler: string;
  room: string;
  event: GameEvent;
}

/**
 * Events that rooms send, handed to the forwarders of their schedulers. Nothing is written. What goes wrong is an answer, as
 * in v10: `success: false`, and why.
 */
@Injectable()
export class EventForwardingService {
  constructor(
    private readonly settings: SchedulerSettingsCache,
    private readonly rooms: RoomStore,
    private readonly forwarder: EventForwarder,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
  ) {}

  /** An event of a room, in the game's own words. */
  forwardRoomEvent(
    scheduler: string,
    room: string,
    { event, metadata }: { event: string; metadata: EventMetadata },
  ): Promise<ForwardingAnswer> {
    return this.forward({ scheduler, room, event: composeRoomEvent(event, metadata) });
  }

  /** `playerJoin` or `playerLeft`; the metadata must have a text `playerId`. */
  forwardPlayerEvent(
    scheduler: string,
    room: string,
    { event, metadata }: { event: string; metadata: EventMetadata },
  ): Promise<ForwardingAnswer> {
    return this.forward({ scheduler, room, event: composePlayerEvent(event, metadata) });
  }

  /** A status that a room says it has: a ping's words, in any letters. */
  forwardRoomStatus(
    scheduler: string,
    room: string,
    { status, metadata }: { status: string; metadata: EventMetadata },
  ): Promise<ForwardingAnswer> {
    return this.forward({ scheduler, room, event: composeStatusEvent(status, metadata) });
  }

  private async forward(origin: Origin): Promise<ForwardingAnswer> {
    const { scheduler, room, event } = origin;
    const settings = await this.readSettings(origin);
    if (settings === null) return this.refuse(origin, 'unknown_scheduler', `there is no scheduler "${scheduler}"`);
    if (settings === 'unreadable') {
      return this.refuse(origin, 'scheduler_unreadable', `scheduler "${scheduler}" could not be read; try again`);
    }
    const { game, forwarders } = settings;
    const known = needsRoom({ event, forwarders }) ? await this.readRoom(origin) : null;
    const plan = planForwarding({ event, game, forwarders, roomId: room, room: known });
    switch (plan.action) {
      case 'skip':
        return { success: true, message: '' };
      case 'refuse':
        return this.refuse(origin, plan.reason, plan.message);
      case 'deliver':
        return composeForwardingAnswer(
          await Promise.all(
            plan.deliveries.map(async ({ forwarder, message }) => ({
              forwarder,
              outcome: await this.deliver(origin, game, forwarder, message),
            })),
          ),
        );
    }
  }

  private async readSettings(origin: Origin): Promise<SchedulerSettings | null | 'unreadable'> {
    try {
      return await this.settings.find(origin.scheduler);
    } catch (error) {
      this.logger.warn({ ...idsOf(origin), err: messageOf(error) }, 'the scheduler of an event could not be read');
      return 'unreadable';
    }
  }

  private async readRoom(origin: Origin): Promise<ForwardingFacts['room']> {
    try {
      return await this.rooms.getRoom(origin.scheduler, origin.room);
    } catch (error) {
      this.logger.warn({ ...idsOf(origin), err: messageOf(error) }, 'the room of an event could not be read');
      return 'unreadable';
    }
  }

  private async deliver(
    origin: Origin,
    game: string,
    { name, address, options }: Forwarder,
    message: EventMessage,
  ): Promise<DeliveryOutcome> {
    const outcome = await this.forwarder.deliver(message, { address, timeoutMs: options.timeoutMs });
    const code = codeOfDelivery(outcome);
    const { kind } = origin.event;
    this.metrics.eventForwarded({ scheduler: origin.scheduler, game, kind, code, success: outcome.delivered });
    const fields = { ...idsOf(origin), forwarder_name: name, event_type: message.type, code };
    if (!outcome.delivered) this.logger.warn({ ...fields, err: outcome.reason }, 'a forwarder did not take an event');
    else if (code !== 'OK') {
      const { responseCode, responseMessage } = outcome;
      this.logger.debug({ ...fields, responseCode, responseMessage }, 'a forwarder took an event, and was not content');
    }
    return outcome;
  }

  private refuse(origin: Origin, reason: Parameters<Metrics['eventRefused']>[2], message: string): ForwardingAnswer {
    this.metrics.eventRefused(origin.scheduler, origin.event.kind, reason);
    this.logger.debug({ ...idsOf(origin), reason: message }, 'an event was not forwarded');
    return { success: false, message };
  }
}

function idsOf({ scheduler, room }: Origin): { scheduler_name: string; room_id: string } {
  return { scheduler_name: scheduler, room_id: room };
}
