-- summary: Find a text in runs, their configuration, metrics, alerts, notes and console
-- description: In any case; of a long text the part around what was found.
-- param: text text positional  Text to find
-- param: limit count -n = 50  Rows at most
-- param: project project -p optional  Only runs of this project
-- column: run_id  run
-- column: name  its human name
-- column: place  where: the column of runs, or configs, metrics, alerts, texts, console
-- column: key  hyperparameter, metric or name of the text
-- column: step  step of an alert or text, line of the console
-- column: text  text that was found
-- example: runq find adam
-- example: runq find "out of memory" -n 5

with searched as (
  select run_id, 1 as rank, 'runs.name' as place, null as key, null as step, name as text from runs
  union all
  select run_id, 1, 'runs.run_id', null, null, run_id as id from runs
  union all
  select run_id, 1, 'runs.notes', null, null, notes from runs
  union all
  select run_id, 1, 'runs.tags', null, null, array_to_string(tags, ', ') from runs
  union all
  select run_id, 1, 'runs.state_detail', null, null, state_detail from runs
  union all
  select run_id, 1, 'runs.host', null, null, host from runs
  union all
  select run_id, 1, 'runs.user_name', null, null, user_name from runs
  union all
  select run_id, 1, 'runs.program', null, null, program from runs
  union all
  select run_id, 1, 'runs.args', null, null, args from runs
  union all
  select run_id, 1, 'runs.git_commit', null, null, git_commit from runs
  union all
  select run_id, 1, 'runs.git_branch', null, null, git_branch from runs
  union all
  select run_id, 1, 'runs.path', null, null, path from runs
  union all
  select run_id, 2, 'configs', key, null, concat(key, ' = ', value) from configs
  union all
  select run_id, 3, 'metrics', key, null, key as id from summary
  union all
  select run_id, 4, 'alerts', key, step, concat_ws(': ', title, text) from alerts
  union all
  select run_id, 5, 'texts', key, step, text from texts
  union all
  select run_id, 6, 'console', null, line, text from console
)
select
  searched.run_id,
  runs.name,
  searched.place,
  searched.key,
  searched.step,
  substr(searched.text, greatest(1, strpos(lower(searched.text), lower($text)) - 60), 160) as text
from searched
join runs on runs.run_id = searched.run_id
where strpos(lower(searched.text), lower($text)) > 0
  and runs.duplicate_of is null
  and ($project is null or runs.project = $project)
order by
  coalesce(runs.created_at, runs.updated_at) desc nulls last,
  searched.run_id,
  searched.rank,
  searched.place,
  searched.key,
  searched.step
limit $limit
