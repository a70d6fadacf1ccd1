-- summary: Find the runs whose configuration comes nearest to given values, and how they ended
-- description: A factor of ten between two numbers counts 1, so does another text or a hyperparameter that the run does not have; where a number is zero or negative it is the difference over the larger of both. distance is the sum, 0 for the very same.
-- param: settings texts positional  Hyperparameters as key=value, by their names or the last parts of them
-- param: metric metric_form -m optional  Metric to show; default: of each run the first with a goal, validation before training
-- param: project project -p optional  Only runs of this project
-- param: where condition -w optional  Only runs that meet this, as in "state = 'finished'"
-- param: limit count -n = 10  Rows at most
-- column: run_id  run
-- column: name  human name
-- column: distance  0 for the very same values
-- column: settings  its values of these hyperparameters
-- column: state  state of the run
-- column: finding  the worst that was found in it, if that is more than a fact
-- column: metric  metric that is shown
-- column: best  its best finite value, where its goal is known
-- column: last  its last value, as logged
-- example: runq tried lr=0.001
-- example: runq tried lr=0.001 batch_size=32 -n 3

with asked as (
  select word, value, try_cast(value as double) as number
  from (
    select
      trim(split_part(setting, '=', 1)) as word,
      trim(substr(setting, strpos(setting, '=') + 1)) as value
    from (select unnest($settings) as setting)
  )
),
shown as (
  select *
  from runs
  where duplicate_of is null
    and ($project is null or project = $project)
    and run_id in $where
),
given as (
  select
    configs.run_id,
    asked.word,
    configs.value,
    configs.number,
    -- the name itself comes before a last part, a short name before a long one
    row_number() over (
      partition by configs.run_id, asked.word
      order by configs.key <> asked.word, length(configs.key), configs.key
    ) as nth
  from configs
  join asked on configs.key = asked.word or ends_with(configs.key, concat('.', asked.word))
),
measured as (
  select
    shown.run_id,
    asked.word,
    given.value,
    case
      when given.value is null then 1
      when given.value = asked.value or given.number = asked.number then 0
      when given.number > 0 and asked.number > 0 then abs(log10(given.number / asked.number))
      when given.number is not null and asked.number is not null
        then abs(given.number - asked.number) / greatest(abs(given.number), abs(asked.number))
      else 1
    end as distance
  from shown
  cross join asked
  left join given on given.run_id = shown.run_id and given.word = asked.word and given.nth = 1
),
near as (
  select
    measured.run_id,
    sum(measured.distance) as distance,
    string_agg(concat(measured.word, '=', left(measured.value, 40)), ' ' order by measured.word)
      filter (where measured.value is not null) as settings
  from measured
  group by measured.run_id
  having count(measured.value) > 0
),
nearest as (
  select
    near.*,
    shown.name,
    shown.state,
    row_number() over (
      order by near.distance, coalesce(shown.created_at, shown.updated_at) desc nulls last, near.run_id
    ) as place
  from near
  join shown on shown.run_id = near.run_id
  order by place
  limit $limit
),
-- the worst comes first by the alphabet
worst as (
  select
    run_id,
    first_value(concat(level, ' ', kind) order by level, step, kind) as finding
  from alerts
  where origin = 'detected' and level <> 'info'
  group by run_id
),
shown_metrics as (
  select
    summary.run_id,
    summary.key,
    summary.best,
    summary.last,
    row_number() over (
      partition by summary.run_id
      order by
        summary.key = $metric desc,
        summary.goal is null,
        not starts_with(role_key(summary.key), 'val/'),
        role_key(summary.key) not in ('val/loss', 'train/loss', 'loss'),
        length(summary.key),
        summary.key
    ) as nth
  from summary
  join nearest on nearest.run_id = summary.run_id
  where summary.count > 0
    and ($metric is not null or not starts_with(summary.key, 'system/'))
    and (
      $metric is null
      or summary.key = $metric
      or normal_key($metric) <> '' and normal_key(summary.key) = normal_key($metric)
    )
)
select
  nearest.run_id,
  nearest.name,
  nearest.distance,
  nearest.settings,
  nearest.state,
  worst.finding,
  shown_metrics.key as metric,
  shown_metrics.best,
  shown_metrics.last
from nearest
left join worst on worst.run_id = nearest.run_id
left join shown_metrics on shown_metrics.run_id = nearest.run_id and shown_metrics.nth = 1
order by nearest.place
