import { MemoryRoomStore } from '../support/memory-room-store';
import { describeRoomStore } from './room-store.contract';

describeRoomStore('MemoryRoomStore', async () => {
  const store = new MemoryRoomStore();
  return {
    store,
    loseEverything: async () => store.loseEverything(),
    giveRoom: async (scheduler, id, agoMs) => store.giveRoom(scheduler, id, agoMs),
    ageTombstone: async (scheduler, id, byMs) => store.ageTombstone(scheduler, id, byMs),
    breakCounters: async () => null,
    close: async () => undefined,
  };
});
