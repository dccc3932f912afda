-- For wrk: asks for what the lines of a file say (`GET path [cookie]` or `POST path body`), from the
-- n-th one on and over again, and writes what came of it as one line of JSON.

local kinds = { ["content-type"] = "application/x-www-form-urlencoded" }
local asked, at = {}, 0

function init(arguments)
  for line in io.lines(arguments[1]) do
    local method, path, more = line:match("^(%u+) (%S+) ?(.*)$")
    if method == "POST" then
      asked[#asked + 1] = wrk.format(method, path, kinds, more)
    else
      asked[#asked + 1] = wrk.format(method, path, more ~= "" and { ["cookie"] = more } or {})
    end
  end
  at = tonumber(arguments[2])
end

function request()
  at = at % #asked + 1
  return asked[at]
end

function done(summary, latency)
  local wrong = summary.errors
  io.write(string.format(
    '\n{"n": %d, "seconds": %.3f, "errors": %d, "p50_ms": %.2f, "p99_ms": %.2f, "max_ms": %.2f}\n',
    summary.requests, summary.duration / 1e6,
    wrong.connect + wrong.read + wrong.write + wrong.status + wrong.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
