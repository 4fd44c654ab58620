import { composeHealthRecordText, readHealthRecordText } from '../../src/adapters/redis/health-record-text';
import { DomainError } from '../../src/domain/errors';
import { HealthRecords, mostHealthRecordBytes, type HealthRecord } from '../../src/ports/health-records';

/** Records in memory, as text, so that nobody changes one that is written. */
export class FakeHealthRecords extends HealthRecords {
  private readonly texts = new Map<string, string>();

  override async write(scheduler: string, record: HealthRecord): Promise<void> {
    if (Buffer.byteLength(JSON.stringify(record)) > mostHealthRecordBytes) {
      throw new DomainError('internal', 'health_record.too_large', `the record of ${scheduler} is too large`);
    }
    this.leave(scheduler, composeHealthRecordText(record));
  }

  override async read(scheduler: string): Promise<HealthRecord | null> {
    const text = this.texts.get(scheduler);
    return text === undefined ? null : readHealthRecordText(text);
  }

  /** What another release wrote. */
  leave(scheduler: string, text: string): void {
    this.texts.set(scheduler, text);
  }

  /** As it happens when the rooms of a scheduler are forgotten, or with all of them. */
  forget(scheduler?: string): void {
    if (scheduler === undefined) this.texts.clear();
    else this.texts.delete(scheduler);
  }
}
