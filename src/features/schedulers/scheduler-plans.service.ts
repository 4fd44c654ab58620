import { Injectable } from '@nestjs/common';
import { versionChanges } from '../../domain/operation/operation';
import type { DefinitionPatch } from '../../domain/scheduler/patch-definition';
import { planVersionChange, type VersionPlan, type WantedVersion } from '../../domain/scheduler/plan-version-change';
import type { SchedulerDefinition } from '../../domain/scheduler/scheduler';
import { schedulerNotFound } from '../../domain/scheduler/scheduler-not-found';
import { OperationStore } from '../../ports/operation-store';
import { RoomStore } from '../../ports/room-store';
import { SchedulerStore } from '../../ports/scheduler-store';

/** Tells what a request for a new version would do. Reads only. */
@Injectable()
export class SchedulerPlansService {
  constructor(
    private readonly schedulers: SchedulerStore,
    private readonly operations: OperationStore,
    private readonly rooms: RoomStore,
  ) {}

  /** @throws DomainError `scheduler.not_found`; what is wrong with the definition is part of the plan. */
  planNewVersion(name: string, definition: SchedulerDefinition): Promise<VersionPlan> {
    return this.plan(name, { definition });
  }

  /** @throws DomainError `scheduler.not_found`; what is wrong with the patch is part of the plan. */
  planPatch(name: string, patch: DefinitionPatch): Promise<VersionPlan> {
    return this.plan(name, { patch });
  }

  private async plan(name: string, wanted: WantedVersion): Promise<VersionPlan> {
    const [scheduler, versions, openChange, { rooms }] = await Promise.all([
      this.schedulers.getScheduler(name),
      this.schedulers.listVersions(name),
      this.operations.findOpen(name, versionChanges),
      this.rooms.readFleet(name),
    ]);
    if (scheduler === null) throw schedulerNotFound(name);
    return planVersionChange({
      scheduler,
      versions: versions.map(({ version }) => version),
      wanted,
      rooms,
      definitions: await this.definitionsOf(name, new Set(rooms.map(({ version }) => version))),
      openChange,
    });
  }

  /** A version that is not stored (a room that somebody else made), or is deleted just now, is missing. */
  private async definitionsOf(name: string, versions: Iterable<string>): Promise<Map<string, SchedulerDefinition>> {
    const found = await Promise.all([...versions].map((version) => this.schedulers.getScheduler(name, version)));
    return new Map(found.flatMap((each) => (each === null ? [] : [[each.version, each.definition]])));
  }
}
