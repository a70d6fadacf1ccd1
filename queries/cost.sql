-- summary: Sum the hours that runs took, by project and state
-- description: --group has them summed by something else: run, name, run_group, sweep_id, job_type, state, source, host, user_name, git_branch or git_commit; of those with a number of GPUs those of the most GPU hours come first.
-- description: Hours are the wall time of the runs (duration_s). GPU hours are of the runs whose number of GPUs is known: by the GPUs in the machine's metrics (system/gpu.0...), else by a hyperparameter num_gpus, n_gpus, n_gpu, ngpus, gpus or gpu_count.
-- param: project project -p optional  Only runs of this project
-- param: where condition -w optional  Only runs that meet this, as in "lr < 0.01 and state = 'finished'"
-- param: since since optional  Only runs that logged since then: 2d, 12h, 30m ago, or a date
-- param: group text -g = 'project'  What to sum by
-- param: limit count -n optional  Rows at most; default: all
-- column: project  project, or what else is summed by; (all) is the sum, where there are several
-- column: name  human name, where each run has a row of its own
-- column: runs  runs
-- column: untimed  how many of them have no known duration
-- column: hours  wall hours of the others
-- column: gpu_hours  GPU hours; empty where no number of GPUs is known
-- column: finished_h  hours of finished runs
-- column: running_h  of running ones
-- column: failed_h  of failed ones
-- column: crashed_h  of those that stopped without an end
-- column: unknown_h  of those whose end is not known
-- column: wasted  part of the hours in failed and crashed runs
-- example: runq cost
-- example: runq cost --since 2000-01-01
-- example: runq cost --group run -n 3

with gpus_seen as (
  select run_id, count(distinct regexp_replace(key, '^system/gpu[./]([0-9]+).*$', '\1')) as gpus
  from summary
  where regexp_like(key, '^system/gpu[./][0-9]+')
  group by run_id
),
gpus_set as (
  select run_id, max(number) as gpus
  from configs
  where regexp_like(lower(key), '(^|[.])(num_gpus|n_gpus|n_gpu|ngpus|gpus|gpu_count)$') and number > 0
  group by run_id
),
timed as (
  select
    coalesce(
      case $group
        when 'project' then runs.project
        when 'run' then runs.run_id
        when 'name' then runs.name
        when 'run_group' then runs.run_group
        when 'sweep_id' then runs.sweep_id
        when 'job_type' then runs.job_type
        when 'state' then runs.state
        when 'source' then runs.source
        when 'host' then runs.host
        when 'user_name' then runs.user_name
        when 'git_branch' then runs.git_branch
        when 'git_commit' then runs.git_commit
      end,
      '(none)'
    ) as project,
    case $group when 'run' then runs.name end as name,
    runs.state,
    runs.duration_s / 3600 as hours,
    coalesce(gpus_seen.gpus, gpus_set.gpus) as gpus
  from runs
  left join gpus_seen on gpus_seen.run_id = runs.run_id
  left join gpus_set on gpus_set.run_id = runs.run_id
  where runs.duplicate_of is null
    and ($project is null or runs.project = $project)
    and ($since is null or coalesce(runs.updated_at, runs.created_at) >= to_timestamp_millis($since))
    and runs.run_id in $where
),
named as (
  select 1 as place, * from timed
  union all
  select 2, '(all)', null, state, hours, gpus
  from timed
  where $limit is null and (select count(distinct project) from timed) > 1
),
summed as (
  select
    place,
    project,
    max(name) as name,
    count(*) as runs,
    count(*) - count(hours) as untimed,
    coalesce(sum(hours), 0) as hours,
    sum(hours * gpus) as gpu_hours,
    coalesce(sum(hours) filter (where state = 'finished'), 0) as finished_h,
    coalesce(sum(hours) filter (where state = 'running'), 0) as running_h,
    coalesce(sum(hours) filter (where state = 'failed'), 0) as failed_h,
    coalesce(sum(hours) filter (where state = 'crashed'), 0) as crashed_h,
    coalesce(sum(hours) filter (where state = 'unknown'), 0) as unknown_h,
    coalesce(sum(hours) filter (where state in ('failed', 'crashed')), 0) / nullif(sum(hours), 0) as wasted
  from named
  group by place, project
)
select
  project,
  name,
  runs,
  untimed,
  hours,
  gpu_hours,
  finished_h,
  running_h,
  failed_h,
  crashed_h,
  unknown_h,
  wasted
from summed
order by
  place,
  case when $group <> 'project' then gpu_hours end desc nulls last,
  hours desc,
  project
limit $limit
