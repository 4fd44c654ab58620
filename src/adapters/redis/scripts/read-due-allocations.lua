-- Input:  KEYS allocation times of a partition; ARGV how many at most
-- Output: {member, when it was due (ms, text), member, ...}: those that are due, the oldest first
-- Atomic because: what is due is said by this server's clock.

return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. digits(nowMs()), 'WITHSCORES', 'LIMIT', '0', ARGV[1])
