-- summary: Rank runs by their best value of a metric
-- description: Ties go to the earlier step.
-- alias: top
-- param: metric metric positional  Metric to rank by
-- param: limit integer -n = 10  Rows at most
-- param: project text optional  Only runs of this project
-- param: word text = 'it''s'  A word
-- param: all flag -a  All
-- param: share number = 0.5  A share
-- column: run_id  run
-- example: runq best val_loss

/* $no */ select "$no", '$no', -$share, $word -- $no
from runs where $metric = x and ($all or project = $project) limit $limit;
