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
    scored.run_id,
    scored.aimed,
    scored.aim,
    case scored.aim when 'min' then scored.aimed else -scored.aimed end as cost
  from (
    select
      metric.*,
      case metric.aim when 'min' then metric.min when 'max' then metric.max end as aimed
    from $metric as metric
  ) as scored
  where scored.aimed is not null
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
    count(configs.number) over (partition by configs.key) as number_count
  from configs
  join ranked on ranked.run_id = configs.run_id
  where config_role(configs.key) is null and configs.value <> 'null'
),
kinds as (
  select
    key,
    count(distinct value) as value_count,
    count(distinct number) as distinct_numbers
  from given
  group by key
),
varied as (
  select
    given.*,
    given.number_count = given.run_count as is_number,
    case when given.number_count = given.run_count then kinds.distinct_numbers else kinds.value_count end as value_count
  from given
  join kinds on kinds.key = given.key
  where given.run_count > 1
    and case
      when given.number_count = given.run_count then kinds.distinct_numbers > 1
      -- a text that is another one in every run names it
      else kinds.value_count > 1 and (kinds.value_count < given.run_count or given.run_count = 2)
    end
),
placed as (
  select
    *,
    -- equal values share the mean of their ranks
    rank() over (partition by key order by aimed) + (count(*) over (partition by key, aimed) - 1) / 2.0 as aimed_rank,
    rank() over (partition by key order by number) + (count(*) over (partition by key, number) - 1) / 2.0 as number_rank,
    row_number() over (partition by key order by cost, run_id) as place,
    is_number and 2 * value_count > run_count and value_count > 3 as has_terciles
  from varied
),
grouped as (
  select
    *,
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
    bool_and(has_terciles) as has_terciles,
    bool_and(is_number) as is_number,
    min(number) as low,
    max(number) as high,
    count(*) as n,
    avg(aimed) as mean,
    min(cost) as lowest,
    avg(aimed_rank) as mean_rank
  from grouped
  group by key, member
),
told as (
  select
    key,
    string_agg(
      concat(
        case when has_terciles and low < high then concat(short(low), '..', short(high)) when is_number then short(low) else left(member, 40) end,
        ': ', short(mean), ' (', n, ')'
      ),
      '; ' order by nth
    ) filter (where nth <= 6) as means,
    count(*) as group_count
  from (
    select
      *,
      row_number() over (partition by key order by case when is_number then low end, lowest, member) as nth
    from groups
  )
  group by key
),
ranks as (
  select
    key,
    bool_and(is_number) as is_number,
    max(run_count) as run_count,
    max(value_count) as value_count,
    finite(case when bool_and(is_number) and count(*) >= 3 then corr(number_rank, aimed_rank) end) as spearman,
    sum(power(aimed_rank - (run_count + 1) / 2.0, 2)) as total,
    max(value) filter (where place = 1) as best_value,
    case
      when bool_and(is_number) and min(number) filter (where place <= ceil(run_count / 4.0)) < max(number) filter (where place <= ceil(run_count / 4.0))
        then concat(
          short(min(number) filter (where place <= ceil(run_count / 4.0))),
          '..',
          short(max(number) filter (where place <= ceil(run_count / 4.0)))
        )
      when bool_and(is_number) then short(min(number) filter (where place <= ceil(run_count / 4.0)))
      else array_to_string(array_sort(array_agg(distinct left(value, 40)) filter (where place <= ceil(run_count / 4.0))), ', ')
    end as best_region
  from grouped
  group by key
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
  select one.key, string_agg(other.key, ', ' order by other.key) as varies_with
  from signed as one
  join signed as other on other.signature = one.signature and other.key <> one.key
  group by one.key
),
between_groups as (
  select groups.key, sum(groups.n * power(groups.mean_rank - (ranks.run_count + 1) / 2.0, 2)) as explained
  from groups
  join ranks on ranks.key = groups.key
  group by groups.key
)
select
  ranks.key,
  case when ranks.is_number then 'number' else 'text' end as type,
  ranks.run_count,
  ranks.value_count,
  ranks.spearman,
  -- by Student's t with n - 2 degrees of freedom
  t_test_p(
    ranks.spearman * sqrt((ranks.run_count - 2) / nullif(1 - power(ranks.spearman, 2), 0)),
    ranks.run_count - 2
  ) as p,
  finite(between_groups.explained / nullif(ranks.total, 0)) as effect,
  ranks.best_value,
  ranks.best_region,
  concat(told.means, case when told.group_count > 6 then concat('; and ', told.group_count - 6, ' more') else '' end) as means,
  together.varies_with
from ranks
join between_groups on between_groups.key = ranks.key
join told on told.key = ranks.key
left join together on together.key = ranks.key
order by effect desc nulls last, abs(ranks.spearman) desc nulls last, ranks.key
limit $limit
