-- Makes the requests, and prints the figures as one line of JSON. Arguments, each name=value:
--   current      milliseconds since 1970 that most requests are for
--   past_first   milliseconds since 1970 at which the first past hour begins
--   past_hours   how many hours from there on the other requests are spread over
--   past_share   how many requests are for those hours, from 0 to 1
--   post_share   how many requests POST an event, from 0 to 1; the others GET counts
--   users        how many users there are; one event in ten is a click
--   sites        how many sites there are; 0: requests name none
--   seed         of the choices; every thread makes its own

local threads = {}

function setup(thread)
  table.insert(threads, thread)
  thread:set("thread_number", #threads)
end

local function arguments(list)
  local values = {}
  for _, argument in ipairs(list) do
    local name, value = argument:match("^([a-z_]+)=(.+)$")
    values[name] = assert(tonumber(value), argument)
  end
  return values
end

local function path(at, rest)
  return ("/analytics?timestamp=%d"):format(at) .. (rest or "")
end

-- Everything before and after the name of the user, so that a request takes one concatenation.
local function post_around_user(at, site)
  local head, rest = wrk.format("POST", path(at, site .. "&user=user@&event=KIND")):match("^(.-)@(.*)$")
  return { head = head, click = (rest:gsub("KIND", "click")), impression = (rest:gsub("KIND", "impression")) }
end

function init(args)
  local load = arguments(args)
  local random = math.random
  math.randomseed(load.seed * 1000 + thread_number)

  local posts_at, gets_at = {}, {}
  local function prepare(place, at, site)
    posts_at[place], gets_at[place] = post_around_user(at, site), wrk.format("GET", path(at, site))
  end
  prepare(0, load.current, "")
  for hour = 1, load.past_hours do
    prepare(hour, load.past_first + (hour - 1) * 3600000, "")
  end
  -- Requests for sites are all for the one hour, and each site has a place below 0.
  for site = 1, load.sites do
    prepare(-site, load.current, "&site=site" .. site)
  end

  posts = 0
  function request()
    local place = 0
    if load.past_share > 0 and random() < load.past_share then place = random(load.past_hours) end
    if load.sites > 0 then place = -random(load.sites) end
    if load.post_share == 0 or (load.post_share < 1 and random() >= load.post_share) then return gets_at[place] end
    posts = posts + 1
    local post = posts_at[place]
    return post.head .. random(0, load.users - 1) .. (random(10) == 1 and post.click or post.impression)
  end
end

function done(summary, latency)
  local written = 0
  for _, thread in ipairs(threads) do written = written + thread:get("posts") end
  local errors = summary.errors
  io.write(("\n{\"requests\":%d,\"duration_us\":%d,\"posts\":%d,\"p50_us\":%d,\"p99_us\":%d,\"p999_us\":%d,"):format(
    summary.requests, summary.duration, written, latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
  io.write(("\"refused\":%d,\"broken\":%d,\"timed_out\":%d}\n"):format(
    errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end
