-- summary: Tell the worst that was found in each of two runs
-- description: Up to three kinds a run, with the first step of each.
-- part-of: why
-- param: a run positional  Run held against
-- param: b run positional  Run to explain, whose findings come first
-- column: run_id  run
-- column: level  error or warn
-- column: kind  what it is
-- column: step  its first onset
-- column: key  the metric there
-- column: n  how often it was found
-- example: runq why @latest @latest~1

with kinds as (
  select
    run_id,
    level,
    kind,
    min(step) as step,
    first_value(key order by step, key) as key,
    count(*) as n
  from alerts
  where run_id in ($a, $b) and origin = 'detected' and level <> 'info'
  group by run_id, level, kind
),
ranked as (
  -- the worst comes first by the alphabet
  select *, row_number() over (partition by run_id order by level, step, kind) as nth
  from kinds
)
select
  run_id,
  level,
  kind,
  step,
  key,
  n
from ranked
where nth <= 3
order by run_id = $a, nth
