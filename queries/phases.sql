-- summary: Print the phases of a run, and why they changed
-- param: run run positional = '@latest'  Run: id, prefix of it, name, @latest, @best:METRIC
-- column: step  step at which the change was seen
-- column: phase_from  phase before; none of the first
-- column: phase_to  phase from here on
-- column: reason  why, with its numbers
-- example: runq phases @latest

select
  step,
  phase_from,
  phase_to,
  reason
from phases
where run_id = $run
order by step
