-- summary: Show what is known about a run besides its metrics
-- param: run run positional  Run: id, prefix of it, name, @latest, @best:METRIC
-- column: run_id  id, as the producer gave it
-- column: name  human name
-- column: project  project the tracker files it under
-- column: entity  team or account
-- column: source  log format
-- column: state  running, finished, failed, crashed or unknown
-- column: state_detail  the tracker's own word
-- column: exit_code  exit code of the training
-- column: created_at  when it began
-- column: updated_at  when its log last spoke
-- column: duration_s  wall time in seconds
-- column: last_step  last step logged
-- column: planned_steps  steps it means to make
-- column: point_count  points logged
-- column: metric_count  metrics logged
-- column: segment_count  starts of the run
-- column: run_group  group
-- column: job_type  job type
-- column: sweep_id  sweep it belongs to
-- column: parent_run_id  run it was started from
-- column: duplicate_of  run of which this is another format
-- column: tags  tags
-- column: notes  notes
-- column: host  host it ran on
-- column: user_name  user who ran it
-- column: program  training script
-- column: args  arguments, shell-quoted
-- column: git_commit  commit of the code
-- column: git_branch  branch of the code
-- column: git_dirty  whether there were uncommitted changes
-- column: git_remote  remote of the code
-- column: phase  phase of the training
-- column: worst_level  worst alert
-- column: path  log
-- example: runq facts @latest --format json

select
  run_id,
  name,
  project,
  entity,
  source,
  state,
  state_detail,
  exit_code,
  created_at,
  updated_at,
  duration_s,
  last_step,
  planned_steps,
  point_count,
  metric_count,
  segment_count,
  run_group,
  job_type,
  sweep_id,
  parent_run_id,
  duplicate_of,
  tags,
  notes,
  host,
  user_name,
  program,
  args,
  git_commit,
  git_branch,
  git_dirty,
  git_remote,
  phase,
  worst_level,
  path
from runs
where run_id = $run
