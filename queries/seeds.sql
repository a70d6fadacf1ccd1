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
  from $metric as metric
),
given as (
  select
    configs.key,
    configs.run_id,
    configs.value,
    config_role(configs.key) as role,
    scored.project,
    scored.value as reached,
    scored.sign,
    count(*) over (partition by configs.key) as run_count,
    count(configs.number) over (partition by configs.key) as number_count,
    count(*) over (partition by configs.key, configs.value) as same_count
  from configs
  join scored on scored.run_id = configs.run_id
  where scored.value is not null
),
judged as (
  select
    *,
    role is null
      -- a text that is another one in every run names it
      and (number_count > 0 or run_count < 3 or max(same_count) over (partition by key) > 1) as is_setting
  from given
),
members as (
  select
    run_id,
    project,
    reached,
    sign,
    max(value) filter (where role = 'seed') as seed,
    coalesce(
      string_agg(concat(key, '=', replace(value, chr(10), ' ')), chr(10) order by key) filter (where is_setting),
      ''
    ) as identity
  from judged
  group by run_id, project, reached, sign
),
groups as (
  select
    project,
    identity,
    count(*) as n,
    count(distinct seed) as seed_count,
    avg(reached) as mean,
    stddev_samp(reached) as std,
    stddev_samp(reached) / sqrt(count(*)) as stderr,
    min(reached) as min,
    max(reached) as max,
    arg_min(run_id, sign * reached) as best_run,
    avg(sign * reached) as cost
  from members
  group by project, identity
  having $all or count(*) > 1
),
-- each group beside the best one that has more than one run
measured as (
  select
    *,
    row_number() over (order by n < 2, cost, best_run) = 1 as is_best,
    first_value(mean) over (order by n < 2, cost, best_run) as best_mean,
    first_value(stderr) over (order by n < 2, cost, best_run) as best_stderr,
    first_value(n) over (order by n < 2, cost, best_run) as best_n
  from groups
),
tested as (
  select
    *,
    sqrt(power(stderr, 2) + power(best_stderr, 2)) as pooled,
    abs(mean - best_mean) as apart,
    power(power(stderr, 2) + power(best_stderr, 2), 2)
      / nullif(power(stderr, 4) / nullif(n - 1, 0) + power(best_stderr, 4) / nullif(best_n - 1, 0), 0) as df
  from measured
),
settings as (
  select
    best_run,
    setting,
    count(*) over (partition by setting) as group_count,
    all_count
  from (
    select
      best_run,
      unnest(string_to_array(identity, chr(10))) as setting,
      all_count
    from (select best_run, identity, count(*) over () as all_count from groups)
  )
),
told as (
  select
    best_run,
    string_agg(
      concat(split_part(setting, '=', 1), '=', left(short(substr(setting, strpos(setting, '=') + 1)), 40)),
      ' ' order by setting
    ) as settings
  from settings
  where group_count < all_count
  group by best_run
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
left join told on told.best_run = tested.best_run
order by tested.cost, tested.best_run
limit $limit
