-- summary: Tell what varied hyperparameters do to the best value of a metric
-- description: Of the runs with a finite best value, those hyperparameters that have more than one value; seeds, labels such as run_name or output_dir, and texts that differ in every run are left out.
-- description: spearman is the rank correlation with the parameter (Spearman 1904): negative means that a larger parameter comes with a smaller value of the metric. effect is eta squared on ranks (Kruskal and Wallis 1952): the part of the variance of the ranks of the best values that the groups explain, 0 to 1; it also shows an optimum in the middle. Groups are the values, or terciles where a number has more values than half of the runs.
-- param: metric ranking positional  Metric to look at
-- param: min flag  Smaller is better
-- param: max flag  Larger is better
-- param: project project -p optional  Only runs of this project
-- param: where condition -w optional  Only runs that meet this, as in "lr < 0.01 and state = 'finished'"
-- param: limit count -n = 20  Rows at most
-- column: key  hyperparameter, the one with the largest effect first
-- column: type  number or text
-- column: run_count  runs that have it and a best value
-- column: value_count  different values
-- column: spearman  rank correlation with the best value; of numbers, from 3 runs on
-- column: p  how often chance alone gives such a correlation
-- column: effect  part of the variance of the ranks that the groups explain
-- column: best_value  its value in the best run
-- column: best_region  its values among the best quarter of the runs
-- column: means  mean best value of each group, and its runs
-- column: varies_with  hyperparameters that change in the same runs: which of them it was cannot be told
-- example: runq sweep val_loss
-- example: runq sweep val_loss --where "state = 'finished'"

with ranked as (
  select
    run_id,
    aimed,
    case aim when 'min' then aimed else -aimed end as cost
  from (
    select
      run_id,
      aim,
      case aim when 'min' then min when 'max' then max end as aimed
    from $metric as metric
  )
  where aimed is not null
),
given as (
  select
    configs.key,
    configs.run_id,
    configs.value,
    configs.number,
    ranked.aimed,
    ranked.cost,
    count(*) over (partition by configs.key) as run_count,
    count(configs.number) over (partition by configs.key) = count(*) over (partition by configs.key) as is_number,
    dense_rank() over (partition by configs.key order by configs.value) as nth_text,
    dense_rank() over (partition by configs.key order by configs.number) as nth_number
  from configs
  join ranked on ranked.run_id = configs.run_id
  where config_role(configs.key) is null and configs.value <> 'null'
),
varied as (
  select *
  from (
    select
      *,
      max(case when is_number then nth_number else nth_text end) over (partition by key) as value_count
    from given
  )
  where value_count > 1
    -- a text that is another one in every run names it
    and (is_number or value_count < run_count or run_count = 2)
),
placed as (
  select
    *,
    -- equal values share the mean of their ranks
    rank() over (partition by key order by aimed) + (count(*) over (partition by key, aimed) - 1) / 2.0 as aimed_rank,
    rank() over (partition by key order by number) + (count(*) over (partition by key, number) - 1) / 2.0 as number_rank,
    (run_count + 1) / 2.0 as middle_rank,
    row_number() over (partition by key order by cost, run_id) as place,
    is_number and 2 * value_count > run_count and value_count > 3 as has_terciles
  from varied
),
grouped as (
  select
    *,
    place <= ceil(run_count / 4.0) as is_best_quarter,
    case
      when has_terciles then cast(least(3, ceil(3.0 * number_rank / run_count)) as text)
      when is_number then short(number)
      else value
    end as member
  from placed
),
groups as (
  select
    key,
    member,
    is_number,
    has_terciles,
    run_count,
    value_count,
    count(*) as n,
    avg(aimed) as mean,
    min(cost) as lowest,
    min(number) as low,
    max(number) as high,
    min(number) filter (where is_best_quarter) as best_low,
    max(number) filter (where is_best_quarter) as best_high,
    bool_or(is_best_quarter) as is_among_best,
    max(value) filter (where place = 1) as best_value,
    sum(aimed_rank - middle_rank) as apart,
    sum(power(aimed_rank - middle_rank, 2)) as aimed_squares,
    sum(power(number_rank - middle_rank, 2)) as number_squares,
    sum((aimed_rank - middle_rank) * (number_rank - middle_rank)) as products
  from grouped
  group by key, member, is_number, has_terciles, run_count, value_count
),
told as (
  select
    *,
    row_number() over (partition by key order by case when is_number then low end, lowest, member) as nth,
    concat(
      case when has_terciles and low < high then concat(short(low), '..', short(high)) when is_number then short(low) else left(member, 40) end,
      ': ', short(mean), ' (', n, ')'
    ) as mean_told
  from groups
),
effects as (
  select
    key,
    is_number,
    run_count,
    value_count,
    finite(case when is_number and run_count >= 3 then sum(products) / sqrt(sum(aimed_squares) * sum(number_squares)) end) as spearman,
    -- between the groups, and all of it
    finite(sum(power(apart, 2) / n) / nullif(sum(aimed_squares), 0)) as effect,
    max(best_value) as best_value,
    case
      when is_number and min(best_low) < max(best_high) then concat(short(min(best_low)), '..', short(max(best_high)))
      when is_number then short(min(best_low))
      else array_to_string(array_sort(array_agg(distinct left(member, 40)) filter (where is_among_best)), ', ')
    end as best_region,
    concat(
      string_agg(mean_told, '; ' order by nth) filter (where nth <= 6),
      case when count(*) > 6 then concat('; and ', count(*) - 6, ' more') else '' end
    ) as means
  from told
  group by key, is_number, run_count, value_count
),
-- each run by the first one of the same value: equal where hyperparameters change in the same runs
signed as (
  select key, string_agg(twin, ',' order by run_id) as signature
  from (
    select key, run_id, min(run_id) over (partition by key, value) as twin
    from varied
    where value_count < run_count
  )
  group by key
),
together as (
  select key, array_to_string(array_remove(array_sort(array_agg(key) over (partition by signature)), key), ', ') as varies_with
  from signed
)
select
  effects.key,
  case when effects.is_number then 'number' else 'text' end as type,
  effects.run_count,
  effects.value_count,
  effects.spearman,
  -- by Student's t with n - 2 degrees of freedom
  t_test_p(
    effects.spearman * sqrt((effects.run_count - 2) / nullif(1 - power(effects.spearman, 2), 0)),
    effects.run_count - 2
  ) as p,
  effects.effect,
  effects.best_value,
  effects.best_region,
  effects.means,
  nullif(together.varies_with, '') as varies_with
from effects
left join together on together.key = effects.key
order by effects.effect desc nulls last, abs(effects.spearman) desc nulls last, effects.key
limit $limit
