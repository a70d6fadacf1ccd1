-- summary: Average runs that differ only in their seed, and tell whether groups differ beyond noise
-- description: A group holds the runs of a project whose configuration is equal but for seeds, labels such as run_name or output_dir, and texts that differ in every run; runs without configuration are left out, and those alone in their group unless --all is given.
-- description: p is that of Welch's t-test (Welch 1947) of a group against the best one: how often chance alone gives such a difference of means. Below 0.05 the group is worse, else the difference lies within noise.
-- param: metric ranking positional  Metric to average, by the best value of each run
-- param: last flag  By the last value of each run
-- param: min flag  Smaller is better
-- param: max flag  Larger is better
-- param: all flag  Also groups of one run
-- param: project project -p optional  Only runs of this project
-- param: where condition -w optional  Only runs that meet this, as in "lr < 0.01 and state = 'finished'"
-- param: limit count -n = 20  Groups at most
-- column: settings  hyperparameters by which the groups differ
-- column: n  runs
-- column: seed_count  different seeds among them
-- column: mean  mean of the metric
-- column: std  standard deviation (n - 1)
-- column: stderr  standard error of the mean
-- column: min  smallest
-- column: max  largest
-- column: best_run  run with the best value
-- column: p  of Welch's t-test against the best group
-- column: verdict  best, within noise or worse
-- example: runq seeds val_loss
-- example: runq seeds val_loss --last --where "state = 'finished'"

with scored as (
  select
    run_id,
    project,
    case
      when $last then finite(last)
      when aim = 'min' then min
      when aim = 'max' then max
    end as value,
    case aim when 'min' then 1 when 'max' then -1 end as sign
  from (
    select
      metric.*,
      case
        when $min then 'min'
        when $max then 'max'
        when min(metric.goal) over () = max(metric.goal) over () then min(metric.goal) over ()
      end as aim
    from $metric as metric
    where ($project is null or metric.project = $project) and metric.run_id in $where
  )
),
given as (
  select
    configs.key,
    configs.run_id,
    configs.value,
    config_role(configs.key) as role,
    count(*) over (partition by configs.key) as run_count,
    count(configs.number) over (partition by configs.key) as number_count
  from configs
  join scored on scored.run_id = configs.run_id
  where scored.value is not null
),
counted as (
  select key, count(distinct value) as value_count
  from given
  group by key
),
settings as (
  select given.*
  from given
  join counted on counted.key = given.key
  where given.role is null
    -- a text that is another one in every run names it
    and (given.number_count > 0 or counted.value_count < given.run_count or given.run_count < 3)
),
members as (
  select
    scored.run_id,
    scored.project,
    scored.value,
    scored.sign,
    seeds.seed,
    coalesce(alike.identity, '') as identity
  from scored
  join (select run_id, max(value) filter (where role = 'seed') as seed from given group by run_id) as seeds
    on seeds.run_id = scored.run_id
  left join (
    select run_id, string_agg(concat(key, '=', value), chr(10) order by key) as identity
    from settings
    group by run_id
  ) as alike on alike.run_id = scored.run_id
),
groups as (
  select
    project,
    identity,
    count(*) as n,
    count(distinct seed) as seed_count,
    avg(value) as mean,
    stddev_samp(value) as std,
    stddev_samp(value) / sqrt(count(*)) as stderr,
    min(value) as min,
    max(value) as max,
    arg_min(run_id, sign * value) as best_run,
    avg(sign * value) as cost
  from members
  group by project, identity
  having $all or count(*) > 1
),
placed as (
  select
    groups.*,
    row_number() over (order by cost, best_run) as place,
    row_number() over (order by n < 2, cost, best_run) as measured
  from groups
),
tested as (
  select
    placed.*,
    placed.measured = 1 as is_best,
    sqrt(power(placed.stderr, 2) + power(best.stderr, 2)) as pooled,
    abs(placed.mean - best.mean) as apart,
    power(power(placed.stderr, 2) + power(best.stderr, 2), 2)
      / nullif(power(placed.stderr, 4) / nullif(placed.n - 1, 0) + power(best.stderr, 4) / nullif(best.n - 1, 0), 0) as df
  from placed
  join placed as best on best.measured = 1
),
varied as (
  select settings.key
  from settings
  join members on members.run_id = settings.run_id
  join groups on groups.identity = members.identity and groups.project is not distinct from members.project
  group by settings.key
  having count(distinct settings.value) > 1
    or count(*) < (
      select count(*)
      from members
      join groups on groups.identity = members.identity and groups.project is not distinct from members.project
    )
),
told as (
  select
    settings.run_id,
    string_agg(concat(settings.key, '=', left(short(settings.value), 40)), ' ' order by settings.key) as settings
  from settings
  join varied on varied.key = settings.key
  join groups on groups.best_run = settings.run_id
  group by settings.run_id
)
select
  coalesce(told.settings, '(all the same)') as settings,
  tested.n,
  tested.seed_count,
  tested.mean,
  tested.std,
  tested.stderr,
  tested.min,
  tested.max,
  tested.best_run,
  case when not tested.is_best then t_test_p(tested.apart / nullif(tested.pooled, 0), tested.df) end as p,
  case
    when tested.n < 2 then null
    when tested.is_best then 'best'
    -- no noise at all
    when tested.pooled = 0 and tested.apart > 0 then 'worse'
    when tested.pooled = 0 or t_test_p(tested.apart / tested.pooled, tested.df) >= 0.05 then 'within noise'
    when tested.pooled > 0 then 'worse'
  end as verdict
from tested
left join told on told.run_id = tested.best_run
order by tested.place
limit $limit
