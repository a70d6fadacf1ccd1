-- summary: Show the notes of a run and the texts it logged
-- param: run run positional = '@latest'  Run: id, prefix of it, name, @latest, @best:METRIC
-- param: pattern text positional optional  Only texts that contain this
-- param: limit count -n optional  The newest ones, so many; default: all
-- column: step  step it was logged at
-- column: time  when it was logged
-- column: key  its name; notes are those of the run as a whole
-- column: text  text
-- example: runq notes @latest
-- example: runq notes @latest warmup -n 3

with written as (
  select null as step, null as time, 'notes' as key, notes as text
  from runs
  where run_id = $run and notes is not null
  union all
  select step, time, key, text
  from texts
  where run_id = $run
),
numbered as (
  select
    *,
    row_number() over (order by step desc nulls last, time desc nulls last, key desc) as newest
  from written
  where $pattern is null or strpos(lower(text), lower($pattern)) > 0 or strpos(lower(key), lower($pattern)) > 0
)
select
  step,
  time,
  key,
  text
from numbered
where $limit is null or newest <= $limit
order by step nulls first, time nulls first, key
