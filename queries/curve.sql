-- summary: Show the points of curves that make a picture of them
-- part-of: plot
-- param: run run positional  Run: id, prefix of it, name, @latest, @best:METRIC
-- param: keys metrics -k optional  Metrics; default: all
-- param: limit count -n = 1000  Points of each metric at most
-- param: from integer optional  First step
-- param: to integer optional  Last step
-- column: key  metric
-- column: step  step
-- column: value  value, as logged
-- example: runq plot @latest --format csv

select
  key,
  point['step'] as step,
  point['value'] as value
from (
  select
    key,
    unnest(minmax_lttb(step, value, $limit)) as point
  from metrics
  where run_id = $run
    and ($keys is null or array_has($keys, key))
    and ($from is null or step >= $from)
    and ($to is null or step <= $to)
  group by key
)
order by key, step
