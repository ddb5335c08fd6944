-- Set the counts of some spaces, each unless a newer one is there, and add them to the history.
--
-- KEYS: the history, then one key for each count. ARGV: the time when the counts expire, the longest time until then
-- (both in ms), the length of the history; then version, count and entry for each count.
-- Return whether there was a history.
local time = redis.call('TIME')
local left = tonumber(ARGV[1]) - time[1] * 1000 - math.floor(time[2] / 1000)
left = math.min(left, tonumber(ARGV[2]))
local had_history = redis.call('EXISTS', KEYS[1])
for number = 2, #KEYS do
    local place = 3 * number - 2
    local version, count, entry = ARGV[place], ARGV[place + 1], ARGV[place + 2]
    local known = redis.call('GET', KEYS[number])
    if not known or tonumber(string.match(known, '^%d+')) < tonumber(version) then
        if left > 0 then
            redis.call('SET', KEYS[number], version .. ' ' .. count, 'PX', left)
        else
            redis.call('DEL', KEYS[number])
        end
    end
    redis.call('ZADD', KEYS[1], version, entry)
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -ARGV[3] - 1)
return had_history
