-- Input:  KEYS rooms counts byStatus metadata ids ended earlyEnds endReasons schedulers
--         ARGV scheduler
-- Output: 'OK'
-- Atomic because: half a scheduler would count rooms that it does not have.

for place = 1, 8 do
  redis.call('UNLINK', KEYS[place])
end
redis.call('SREM', SCHEDULERS, ARGV[1])
return 'OK'
