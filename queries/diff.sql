-- summary: Compare configuration, packages, command line and code of two runs
-- description: Only what differs is listed; 0.001 and 1e-3 do not. --code adds the files that differ between the commits, where a repository around holds both.
-- param: a run positional  First run: id, prefix of it, name, @latest, @best:METRIC
-- param: b run positional  Second run
-- column: part  config, packages, command, code or files
-- column: key  hyperparameter, package, or what it is
-- column: a  its value in the first run; of a file the lines that only this one has
-- column: b  its value in the second run
-- example: runq diff @latest~1 @latest

with told as (
  select run_id, 1 as place, 'config' as part, key, value, number
  from configs
  where run_id in ($a, $b)
  union all
  select run_id, 3, 'command', 'program', program, null from runs where run_id in ($a, $b)
  union all
  select run_id, 3, 'command', 'args', args, null from runs where run_id in ($a, $b)
  union all
  select run_id, 4, 'code', 'git_commit', git_commit, null from runs where run_id in ($a, $b)
  union all
  select run_id, 4, 'code', 'git_branch', git_branch, null from runs where run_id in ($a, $b)
  union all
  select run_id, 4, 'code', 'git_dirty', cast(git_dirty as text), null from runs where run_id in ($a, $b)
  union all
  select run_id, 4, 'code', 'git_remote', git_remote, null from runs where run_id in ($a, $b)
),
sides as (
  select
    place,
    part,
    key,
    max(case when run_id = $a then value end) as a,
    max(case when run_id = $b then value end) as b,
    max(case when run_id = $a then number end) as a_number,
    max(case when run_id = $b then number end) as b_number
  from told
  group by place, part, key
)
select
  part,
  key,
  a,
  b
from sides
where (a is distinct from b)
  and coalesce(a_number <> b_number, true)
order by place, key
