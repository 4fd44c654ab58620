import { DomainError } from '../../domain/errors';
import type { PostgresUnitOfWork } from './postgres-unit-of-work';

/** Who this installation of Maestro is: the same for all its processes, for ever. */
export class PostgresInstallation {
  constructor(private readonly database: PostgresUnitOfWork) {}

  async id(): Promise<string> {
    const [row] = await this.database.rows<{ id: string }>('SELECT id FROM maestro.installation');
    if (row !== undefined) return row.id;
    throw new DomainError(
      'failed_precondition',
      'postgres.installation_lost',
      'The database does not say which installation it belongs to: the row of maestro.installation was removed',
    );
  }
}
