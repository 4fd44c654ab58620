import { FakeHealthRecords } from '../support/fake-health-records';
import { describeHealthRecords } from './health-records.contract';

describeHealthRecords('FakeHealthRecords', async () => {
  const records = new FakeHealthRecords();
  return {
    records,
    others: records,
    leave: async (scheduler, text) => records.leave(scheduler, text),
    deleteRooms: async (scheduler) => records.forget(scheduler),
    loseEverything: async () => records.forget(),
    close: async () => undefined,
  };
});
