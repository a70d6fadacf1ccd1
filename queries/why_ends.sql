-- summary: Tell how two runs ended in a metric, and of what code they are
-- part-of: why
-- param: a run positional  Run held against, which comes first
-- param: b run positional  Run to explain
-- param: key text positional  Metric, by any spelling
-- column: run_id  run
-- column: last  last value of the metric
-- column: git_commit  beginning of its commit
-- column: git_dirty  whether there were changes besides
-- example: runq why @latest @latest~1

with ends as (
  select run_id, first_value(last order by key <> $key, key) as last
  from summary
  where run_id in ($a, $b) and (key = $key or normal_key(key) = normal_key($key))
  group by run_id
)
select
  runs.run_id,
  ends.last,
  left(runs.git_commit, 12) as git_commit,
  runs.git_dirty
from runs
left join ends on ends.run_id = runs.run_id
where runs.run_id in ($a, $b)
order by runs.run_id = $b
