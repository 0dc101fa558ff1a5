"""What Redis does in one step for a session, in Lua.

A claim is stored as ``{number} {worker}``. A connection that saves passes its own: a greater one in
the store means that it has lost the session, and nothing is written. Redis's own clock supplies the
numbers, so that they keep growing after a restart that lost everything.
"""

from __future__ import annotations

from typing import Final

_CLAIMS: Final = """
local function parts(claim)
  local number, worker = string.match(claim, '^(%d+) (.*)$')
  number = tonumber(number)
  if not number or number >= 2^53 then return nil end
  return number, worker
end
local function newer(kept, ours)
  if not kept then return false end
  local a, by_a = parts(kept)
  local b, by_b = parts(ours)
  if not a then return false end
  return a > b or (a == b and by_a > by_b)
end
local function microseconds()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
"""

_LEASES: Final = """
local function join(session, class, leases, milliseconds)
  local lease = cjson.encode({class, session})
  local added = redis.call('SADD', 'class:' .. class, session)
  if added == 1 or redis.call('ZSCORE', leases, lease) then
    redis.call('ZADD', leases, microseconds() / 1000 + milliseconds, lease)
  end
end
local function leave(session, class, leases)
  redis.call('ZREM', leases, cjson.encode({class, session}))
  redis.call('SREM', 'class:' .. class, session)
end
"""

OPEN: Final = (
    _CLAIMS
    + """
-- KEYS: session claim owner activity answers; ARGV: our claim, our owner, ms, ms for our own keys
local owner = redis.call('GET', KEYS[3])
if owner and owner ~= 'null' and owner ~= ARGV[2] then return {0} end
local number, worker = parts(ARGV[1])
local kept = redis.call('GET', KEYS[2])
local held = kept and parts(kept) or 0
number = math.max(number, held + 1, microseconds())
local claim = string.format('%.0f %s', number, worker)
redis.call('SET', KEYS[2], claim, 'PX', ARGV[4])
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[4])
redis.call('SET', KEYS[4], string.format('%.6f', microseconds() / 1000000), 'PX', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[5], ARGV[3])
local state = redis.pcall('GET', KEYS[1])
if type(state) == 'table' then return {2, claim, state.err} end
return {1, claim, state}
"""
)
"""Return 0 if it is another owner's; 1, the claim and the state; 2, the claim and the problem."""

WITHDRAW: Final = """
-- KEYS: claim owner; ARGV: our claim
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1], KEYS[2]) end
"""
"""Withdraw a claim, if nobody has claimed the session since."""

_NOTED: Final = """
-- KEYS: session claim owner activity answers leases
-- ARGV: our claim, our owner, ms, ms for our own keys, session id
if newer(redis.call('GET', KEYS[2]), ARGV[1]) then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[4])
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[4])
redis.call('SET', KEYS[4], string.format('%.6f', microseconds() / 1000000), 'PX', ARGV[3])
redis.call('PEXPIRE', KEYS[5], ARGV[3])
"""

SAVE: Final = (
    _CLAIMS
    + _LEASES
    + _NOTED
    + """
-- further ARGV: the state, how many classes were left, these, those it is in
redis.call('SET', KEYS[1], ARGV[6], 'PX', ARGV[3])
local left = tonumber(ARGV[7])
for i = 8, 7 + left do leave(ARGV[5], ARGV[i], KEYS[6]) end
for i = 8 + left, #ARGV do join(ARGV[5], ARGV[i], KEYS[6], tonumber(ARGV[4])) end
return 1
"""
)
"""Return 0 if another connection has claimed the session, otherwise 1."""

TOUCH: Final = (
    _CLAIMS
    + _LEASES
    + _NOTED
    + """
-- further ARGV: the classes it is in
for i = 6, #ARGV do join(ARGV[5], ARGV[i], KEYS[6], tonumber(ARGV[4])) end
return 1 + redis.call('PEXPIRE', KEYS[1], ARGV[3])
"""
)
"""Return 0 if another connection has claimed the session, 1 if it has no state, otherwise 2."""

CLOSE: Final = (
    _CLAIMS
    + """
-- KEYS: claim leases; ARGV: our claim, session id, the classes it is in
if newer(redis.call('GET', KEYS[1]), ARGV[1]) then return end
for i = 3, #ARGV do
  if redis.call('ZREM', KEYS[2], cjson.encode({ARGV[i], ARGV[2]})) == 1 then
    redis.call('SREM', 'class:' .. ARGV[i], ARGV[2])
  end
end
"""
)
"""Remove the memberships of the connection, not those that somebody else gave the session."""

SWEEP: Final = (
    _CLAIMS
    + """
-- KEYS: leases; ARGV: how many at once
local now = microseconds() / 1000
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, lease in ipairs(over) do
  local is_json, found = pcall(cjson.decode, lease)
  redis.call('ZREM', KEYS[1], lease)
  if is_json and type(found) == 'table' and found[1] and found[2] then
    redis.pcall('SREM', 'class:' .. tostring(found[1]), tostring(found[2]))
  end
end
return #over
"""
)
"""Remove the memberships of connections that nobody maintains any more."""

ADDED: Final = """
-- KEYS: class leases; ARGV: class id
local added = {}
for _, session in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if not redis.call('ZSCORE', KEYS[2], cjson.encode({ARGV[1], session})) then
    added[#added + 1] = session
  end
end
return added
"""
"""Return the members of a class that were not added by a connection."""

KEEP: Final = (
    _CLAIMS
    + """
-- KEYS: answers, what became of the publication if it is one, owner
-- ARGV: the answer, ms, how many, whether it is another one than an equal one, ms for what became
-- of the publication, the owner, ms for our own keys
local owner = KEYS[#KEYS]
if ARGV[6] ~= 'null' then
  redis.call('SET', owner, ARGV[6], 'NX', 'PX', ARGV[7])
  if redis.call('GET', owner) ~= ARGV[6] then return 0 end
end
local published = #KEYS == 3 and KEYS[2]
if published and redis.call('EXISTS', published) == 1 then return 1 end
local answer = ARGV[1]
while ARGV[4] == '1' and redis.call('ZSCORE', KEYS[1], answer) do answer = answer .. ' ' end
redis.call('ZADD', KEYS[1], 'NX', microseconds(), answer)
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if published then redis.call('SET', published, answer, 'PX', ARGV[5]) end
return 1
"""
)
"""Store an answer, unless another worker has stored or forgotten the same publication.

Of equal answers that wait, each has one more trailing space than the last; JSON allows any number
of them. Return 0 if the session belongs to another owner, otherwise 1.
"""

FORGET: Final = """
-- KEYS: answers, what became of the publication if it is one; ARGV: the answer, ms for KEYS[2]
local kept = KEYS[2] and redis.call('GET', KEYS[2]) or not KEYS[2] and ARGV[1]
if KEYS[2] then redis.call('SET', KEYS[2], '', 'PX', ARGV[2]) end
if not kept or kept == '' then return 1 end
return redis.call('ZREM', KEYS[1], kept)
"""
"""Forget an answer; a publication that was not stored yet will not have to be.

Return 0 if it was stored and no longer is, otherwise 1. A non-publication has been stored.
"""

MARK: Final = (
    _CLAIMS
    + """
-- KEYS: mark; ARGV: a new one
redis.call('SET', KEYS[1], ARGV[1], 'NX')
local server = redis.pcall('INFO', 'server')
local run = type(server) == 'string' and string.match(server, 'run_id:(%x+)') or ''
return {redis.call('GET', KEYS[1]) .. ' ' .. run, microseconds()}
"""
)
"""Return a value that stays the same as long as Redis has lost nothing, and Redis's time.

If the mark is lost, so is everything next to it; another run may have begun with an older copy.
"""
