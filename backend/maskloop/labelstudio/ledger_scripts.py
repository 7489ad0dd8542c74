"""How the ledger's entries change their state, see ``ledger``: each script is one step for Redis."""

ENLIST = """
local entry, due, waiting, stats, projects = unpack(KEYS)
local id, project, task, version = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local now, lease, margin = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local keep, delivers, replaces = ARGV[8], ARGV[9] == '1', ARGV[9] == '1' and ARGV[10] == '1'
local state, failed, settled, reserved = unpack(redis.call('HMGET', entry, 'state', 'failed', 'settled', 'reserved'))
local storing = now < tonumber(settled or '0')

if state == 'delivering' or (reserved and storing) then return 'elsewhere' end
if reserved then redis.call('HDEL', entry, 'reserved') end
local verdict = 'waiting'
if state == 'answered' or state == 'delivered' then
  local later = storing and delivers
  if failed == '1' or (state == 'delivered' and not storing) then
    redis.call('DEL', entry)
    state = false
    if later then
      redis.call('HSET', entry, 'reserved', 1, 'settled', settled)
      verdict = 'later'
    end
  elseif storing and (state == 'delivered' or not delivers) then
    return 'elsewhere'
  else
    redis.call('HINCRBY', stats, state, -1)
    state = 'ready'
    redis.call('HSET', entry, 'state', state)
    if later then
      redis.call('HSET', entry, 'reserved', 1)
      redis.call('ZADD', due, settled + margin, id)
      return 'elsewhere'
    end
  end
end
if replaces then
  settled = storing and settled or now
  redis.call('HSET', entry, 'reserved', 1, 'settled', settled)
  if state == 'ready' then
    redis.call('ZADD', due, settled + margin, id)
    return 'elsewhere'
  end
  verdict = 'later'
end
lease = math.max(lease, tonumber(redis.call('HGET', entry, 'lease') or '0'))
if verdict == 'waiting' then redis.call('HSET', entry, 'lease', lease) end
redis.call('EXPIRE', entry, keep)
if state == 'ready' then
  redis.call('ZADD', due, lease + margin, id)
  return 'ready'
end
redis.call('HSET', entry, 'state', 'waiting', 'project', project, 'task', task, 'version', version)
redis.call('ZADD', waiting, now, id)
redis.call('SADD', projects, project)
return verdict
"""
FINISH = """
local entry, due, waiting, stats = unpack(KEYS)
local id, now, result, failed, margin = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[5])
if redis.call('HGET', entry, 'state') ~= 'waiting' then return 0 end
local lease, reserved, settled = unpack(redis.call('HMGET', entry, 'lease', 'reserved', 'settled'))
local from = reserved and settled or lease or '0'
redis.call('HSET', entry, 'state', 'ready', 'result', result, 'failed', failed)
redis.call('ZREM', waiting, id)
redis.call('ZADD', due, math.max(now, from + margin), id)
if failed == '1' then redis.call('HINCRBY', stats, 'failed', 1) end
return 1
"""
CLAIM = """
local entry, due, waiting, stats = unpack(KEYS)
local state, reserved = unpack(redis.call('HMGET', entry, 'state', 'reserved'))
if state ~= 'ready' or reserved then return false end
redis.call('HSET', entry, 'state', 'answered', 'settled', ARGV[2])
redis.call('ZREM', due, ARGV[1])
redis.call('HINCRBY', stats, 'answered', 1)
redis.call('EXPIRE', entry, ARGV[3])
return redis.call('HGET', entry, 'result')
"""
TAKE = """
local projects, prefix, now, grasp = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
while true do
  local due, id, since
  for _, project in ipairs(redis.call('SMEMBERS', projects)) do
    local key = prefix .. 'due:' .. project
    local first = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, 1)
    if first[1] and (not id or tonumber(first[2]) < since) then
      due, id, since = key, first[1], tonumber(first[2])
    end
  end
  if not id then return false end
  local entry = prefix .. 'entry:' .. id
  local state = redis.call('HGET', entry, 'state')
  if state == 'ready' or state == 'delivering' then
    redis.call('HSET', entry, 'state', 'delivering')
    redis.call('ZADD', due, now + grasp, id)
    return {id, unpack(redis.call('HMGET', entry, 'project', 'task', 'version', 'failed', 'result'))}
  end
  redis.call('ZREM', due, id)
end
"""
CLOSE = """
local entry, due, waiting, stats = unpack(KEYS)
local id, outcome, at, keep = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if outcome == 'postponed' then
  if redis.call('HGET', entry, 'state') == 'delivering' then
    redis.call('HSET', entry, 'state', 'ready')
    redis.call('ZADD', due, at, id)
  end
  return
end
redis.call('ZREM', due, id)
redis.call('ZREM', waiting, id)
if outcome == 'dropped' then
  redis.call('DEL', entry)
else
  redis.call('HSET', entry, 'state', 'delivered', 'settled', at)
  redis.call('HDEL', entry, 'result')
  redis.call('EXPIRE', entry, keep)
  redis.call('HINCRBY', stats, 'delivered', 1)
end
"""
