-- summary: List runs, newest first
-- description: A training logged in several formats is listed once.
-- alias: list
-- param: project text -p optional  Only runs of this project
-- param: state text -s optional  Only runs in this state: running, finished, failed, crashed, unknown
-- param: limit integer -n optional  Rows at most; default: all
-- param: duplicates flag  Include further formats of a run that is listed already
-- column: run_id  id, as the producer gave it
-- column: name  human name
-- column: project  project the tracker files it under
-- column: state  running, finished, failed, crashed or unknown
-- column: last_step  last step logged
-- column: metric_count  metrics logged
-- column: duration_s  wall time in seconds
-- column: created_at  when it began
-- example: runq runs
-- example: runq runs --state failed -n 5

select
  run_id,
  name,
  project,
  state,
  last_step,
  metric_count,
  duration_s,
  created_at
from runs
where ($project is null or project = $project)
  and ($state is null or state = $state)
  and ($duplicates or duplicate_of is null)
-- a log without a beginning is placed by its end
order by coalesce(created_at, updated_at) desc nulls last, run_id
limit $limit
