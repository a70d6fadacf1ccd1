-- summary: Show every logged point of a run, also those that a later start took the place of
-- part-of: history
-- param: run run positional  Run: id, prefix of it, name, @latest, @best:METRIC
-- param: keys metrics -k optional  Metrics; default: all
-- param: limit count -n optional  Points at most
-- param: from integer optional  First step
-- param: to integer optional  Last step
-- column: key  metric
-- column: step  step
-- column: value  value, as logged
-- column: time  when it was logged
-- column: segment  which start of the run
-- column: seq  order of arrival
-- column: superseded  whether a later point took its place
-- example: runq history @latest --raw -n 100

select
  key,
  step,
  value,
  time,
  segment,
  seq,
  superseded
from metrics_raw
where run_id = $run
  and ($keys is null or array_has($keys, key))
  and ($from is null or step >= $from)
  and ($to is null or step <= $to)
order by starts_with(key, 'system/'), key, segment, seq, step
limit $limit
