-- summary: Show in what runs differ but for their metrics
-- part-of: compare
-- param: runs runs positional  Runs: ids, prefixes of them, names, @latest, @best:METRIC; at least two
-- column: key  fact or hyperparameter
-- column: run_id  run
-- column: value  its value; empty where the run has none
-- example: runq compare @latest @latest~1

with listed as (
  select *, array_position($runs, run_id) as nth
  from runs
  where array_has($runs, run_id)
),
told as (
  select run_id, 1 as place, 'name' as key, name as value from listed
  union all
  select run_id, 2, 'project', project from listed
  union all
  select run_id, 3, 'state', state from listed
  union all
  select run_id, 4, 'last_step', cast(last_step as text) from listed
  union all
  select run_id, 5, 'duration_s', short(duration_s) from listed
  union all
  select run_id, 6, 'git_commit', left(git_commit, 12) from listed
  union all
  select run_id, 7, 'git_dirty', cast(git_dirty as text) from listed
  union all
  select run_id, 8, 'program', program from listed
  union all
  select configs.run_id, 9, configs.key, configs.value
  from configs
  join listed on listed.run_id = configs.run_id
  where array_has($runs, configs.run_id)
),
varied as (
  select place, key
  from told
  group by place, key
  having count(distinct value) > 1
    or count(distinct value) = 1 and count(value) < array_length($runs)
)
select
  varied.key,
  listed.run_id,
  told.value
from varied
cross join listed
left join told on told.place = varied.place and told.key = varied.key and told.run_id = listed.run_id
order by varied.place, varied.key, listed.nth
