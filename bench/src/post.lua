-- Every request is an event of this moment: some user of 10,000, one in ten a click.
request = function()
  local kind = math.random(10) == 1 and "click" or "impression"
  local user = "user" .. math.random(10000)
  return wrk.format("POST", "/analytics?timestamp=" .. os.time() * 1000 .. "&user=" .. user .. "&event=" .. kind)
end
