-- summary: List the runs that no other run beats in two or three metrics
-- description: By the best value of each. A run is beaten by one that is at least as good in all of them and better in one. Runs without a finite value of each are left out.
-- param: first ranking positional  Metric
-- param: second ranking positional  Another metric
-- param: third ranking positional optional  A third one
-- param: min texts optional  Metrics of which smaller is better, once for each; default: what the tracker, runq.toml or the name tells
-- param: max texts optional  Metrics of which larger is better
-- param: project project -p optional  Only runs of this project
-- param: where condition -w optional  Only runs that meet this, as in "lr < 0.01 and state = 'finished'"
-- column: run_id  run
-- column: name  human name
-- column: first  best value of the first metric; the column bears its name on the command line
-- column: second  of the second
-- column: third  of the third; left out where there is none
-- column: beaten  runs it beats
-- column: run_count  runs that have all of the metrics; on the command line a note
-- column: state  state of the run
-- example: runq pareto val_loss val_acc
-- example: runq pareto val_loss grad_norm --min grad_norm

with wanted as (
  select 1 as nth, run_id, run_name, state, key, goal, min, max, project from $first as metric
  union all
  select 2, run_id, run_name, state, key, goal, min, max, project from $second as metric
  union all
  select 3, run_id, run_name, state, key, goal, min, max, project from $third as metric
),
aimed as (
  select
    *,
    case
      when $min is not null and array_has($min, key) then 'min'
      when $max is not null and array_has($max, key) then 'max'
      when min(goal) over (partition by nth) = max(goal) over (partition by nth) then min(goal) over (partition by nth)
    end as aim
  from wanted
  where ($project is null or project = $project) and run_id in $where
),
valued as (
  select
    nth,
    run_id,
    run_name,
    state,
    case aim when 'min' then min when 'max' then max end as value,
    case aim when 'min' then min when 'max' then -max end as cost
  from aimed
),
points as (
  select
    one.run_id,
    one.run_name,
    one.state,
    one.value as first,
    two.value as second,
    three.value as third,
    one.cost as a,
    two.cost as b,
    coalesce(three.cost, 0) as c
  from valued as one
  join valued as two on two.run_id = one.run_id and two.nth = 2 and two.cost is not null
  left join valued as three on three.run_id = one.run_id and three.nth = 3
  where one.nth = 1
    and one.cost is not null
    and (three.cost is not null or (select count(*) from $third as metric) = 0)
),
front as (
  select points.*
  from points
  left join points as better on better.a <= points.a
    and better.b <= points.b
    and better.c <= points.c
    and (better.a < points.a or better.b < points.b or better.c < points.c)
  where better.run_id is null
)
select
  front.run_id,
  front.run_name as name,
  front.first,
  front.second,
  front.third,
  count(*) filter (where front.a < points.a or front.b < points.b or front.c < points.c) as beaten,
  (select count(*) from points) as run_count,
  front.state
from front
-- itself and its equals among them
join points on front.a <= points.a and front.b <= points.b and front.c <= points.c
group by front.run_id, front.run_name, front.first, front.second, front.third, front.a, front.b, front.c, front.state
order by front.a, front.b, front.c, front.run_id
