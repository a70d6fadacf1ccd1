-- summary: Tell what is here: projects, runs by state, metrics, what was varied, the newest alert
-- description: What runq alone prints in a pipe; under 300 tokens.
-- param: project project -p optional  Only runs of this project
-- column: fact  what is told
-- column: value  names with the number of runs, or of values
-- example: runq overview

with shown as (
  select * from runs
  where duplicate_of is null and ($project is null or project = $project)
),
states as (
  select state as name, count(*) as n from shown group by state
),
projects as (
  select name, n, row_number() over (order by n desc, name) as nth
  from (select coalesce(left(project, 40), '(none)') as name, count(*) as n from shown group by 1)
),
metrics as (
  select name, n, row_number() over (order by starts_with(name, 'system/'), n desc, length(name), name) as nth
  from (
    select left(summary.key, 40) as name, count(*) as n
    from summary
    join shown on shown.run_id = summary.run_id
    group by 1
  )
),
-- what differs between runs that have it, and is not another one for each
varied as (
  select name, n, row_number() over (order by runs desc, length(name), name) as nth
  from (
    select left(configs.key, 40) as name, count(distinct configs.value) as n, count(*) as runs
    from configs
    join shown on shown.run_id = configs.run_id
    group by 1
  )
  where n > 1 and (n < runs or runs < 4)
),
newest as (
  select concat_ws(' ', run_id, left(name, 40), state, cast(cast(coalesce(updated_at, created_at) as date) as text)) as text
  from shown
  order by coalesce(created_at, updated_at) desc nulls last, run_id
  limit 1
),
alert as (
  select
    concat_ws(' ', alerts.level, alerts.kind, 'in', alerts.run_id, 'at step ' || cast(alerts.step as text), left(coalesce(alerts.title, alerts.text), 60)) as text
  from alerts
  join shown on shown.run_id = alerts.run_id
  where alerts.level <> 'info'
  order by alerts.seq desc
  limit 1
),
facts as (
  select 1 as place, 'runs' as fact, (select cast(count(*) as text) from shown) as value
  union all
  select 2, 'states', (select string_agg(concat(name, ' ', n), ', ' order by n desc, name) from states)
  union all
  select 3, 'projects', (select string_agg(concat(name, ' ', n), ', ' order by nth) from projects where nth <= 5)
  union all
  select 4, 'newest', (select text from newest)
  union all
  select 5, 'metrics', (
    select concat(
      string_agg(concat(name, ' ', n), ', ' order by nth) filter (where nth <= 6),
      case when count(*) > 6 then concat(' and ', count(*) - 6, ' more') else '' end
    ) from metrics having count(*) > 0
  )
  union all
  select 6, 'varied', (
    select concat(
      string_agg(concat(name, ' ', n, ' values'), ', ' order by nth) filter (where nth <= 4),
      case when count(*) > 4 then concat(' and ', count(*) - 4, ' more') else '' end
    ) from varied having count(*) > 0
  )
  union all
  select 7, 'alert', (select text from alert)
  union all
  select 8, 'ask', 'runq runs; best METRIC; show RUN; history RUN -k METRIC; keys; schema; sql'
)
select
  fact,
  value
from facts
where value is not null
order by place
