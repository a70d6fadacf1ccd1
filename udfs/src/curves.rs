//! Aggregates over the curves of a run: `(step, value, ..)` and what is known of the run beside them.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, TimeUnit};
use datafusion::common::cast::as_float64_array;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Expr, Signature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;

use crate::args::{check_count, checked_when_planned, refuse_distinct};
use crate::curve::SortedPoints;
use crate::points::Points;
use crate::series::empty_list;

/// Columns of the state of one curve.
const STATE_COLUMNS: usize = 4;

/// What the arguments behind the step are: curves first, then facts, then literals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Curves: a null is a missing point.
    pub(crate) curves: usize,
    /// Facts of the run, one number for all of its rows.
    pub(crate) facts: usize,
}

/// A function over the curves of a run.
pub(crate) trait CurvesFunction: Debug + Clone + Copy + Eq + Hash + Send + Sync + 'static {
    /// SQL name.
    fn name(&self) -> &'static str;

    /// How many arguments it takes.
    fn counts(&self) -> &'static [usize];

    /// What they are, of so many.
    fn layout(&self, arguments: usize) -> Layout;

    /// The types they are brought to; their number is right.
    fn coerce(&self, types: &[DataType]) -> Result<Vec<DataType>>;

    /// Checks literals while the query is planned.
    fn check(&self, _args: &[Expr]) -> Result<()> {
        Ok(())
    }

    /// SQL type of the result.
    fn result_type(&self, step: &DataType) -> DataType;

    /// What to do once all points are there.
    fn finish(&self, args: &[Arc<dyn PhysicalExpr>]) -> Result<Box<dyn FinishCurves>>;

    /// Its documentation.
    fn documentation(&self) -> &'static Documentation;
}

/// What is made of the curves of a run once all points are there and sorted.
pub(crate) trait FinishCurves: Debug + Send + Sync {
    /// Computes the result. May be called more than once as points are added.
    fn finish(&self, run: &RunCurves<'_>) -> Result<ScalarValue>;
}

/// The curves of a run, each in order of step.
#[derive(Debug)]
pub(crate) struct RunCurves<'a> {
    /// At least one, in the order of the arguments.
    pub(crate) curves: Vec<SortedPoints<'a>>,
    facts: &'a [Option<f64>],
}

impl RunCurves<'_> {
    /// A fact by its place among the facts; none where it was not given.
    pub(crate) fn fact(&self, place: usize) -> Option<f64> {
        self.facts.get(place).copied().flatten()
    }
}

/// The aggregate of a function over curves.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CurvesAggregate<F> {
    signature: Signature,
    function: F,
}

/// The function for registration.
pub(crate) fn curves_udaf(function: impl CurvesFunction) -> AggregateUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    AggregateUDF::from(CurvesAggregate { signature, function })
}

impl<F: CurvesFunction> AggregateUDFImpl for CurvesAggregate<F> {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        check_count(self.function.name(), types, self.function.counts())?;
        self.function.coerce(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(step) => Ok(self.function.result_type(step)),
            None => plan_err!("{} takes a step", self.function.name()),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(self.function.name(), args.is_distinct)?;
        let Some(step) = args.expr_fields.first() else {
            return plan_err!("{} takes a step", self.function.name());
        };
        let layout = self.function.layout(args.exprs.len());
        Ok(Box::new(CurvesAccumulator {
            curves: vec![Points::new(step.data_type()); layout.curves],
            facts: vec![None; layout.facts],
            finish: self.function.finish(args.exprs)?,
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let layout = self.function.layout(args.input_fields.len());
        let curves = (0..layout.curves)
            .flat_map(|place| Points::state_fields(&format_state_name(args.name, &place.to_string())));
        let facts = (0..layout.facts).map(|place| {
            let name = format_state_name(args.name, &format!("fact {place}"));
            Arc::new(Field::new(name, DataType::Float64, true))
        });
        Ok(curves.chain(facts).collect())
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        let function = self.function;
        checked_when_planned(function.name(), move |args| function.check(args))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        match data_type {
            DataType::List(_) => empty_list(data_type),
            _ => ScalarValue::try_from(data_type),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(self.function.documentation())
    }
}

/// Collects curves side by side, merges, sorts, finishes.
#[derive(Debug)]
struct CurvesAccumulator {
    curves: Vec<Points>,
    /// The greatest number seen of each fact.
    facts: Vec<Option<f64>>,
    finish: Box<dyn FinishCurves>,
}

impl CurvesAccumulator {
    fn learn<'a>(&mut self, columns: impl Iterator<Item = &'a ArrayRef>) -> Result<()> {
        for (fact, column) in self.facts.iter_mut().zip(columns) {
            let finite = as_float64_array(column)?.iter().flatten().filter(|number| number.is_finite());
            *fact = finite.chain(*fact).max_by(f64::total_cmp);
        }
        Ok(())
    }
}

impl Accumulator for CurvesAccumulator {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let Some((steps, columns)) =
            columns.split_first().filter(|(_, rest)| rest.len() >= self.curves.len())
        else {
            return exec_err!("curves: {} arguments are too few", columns.len());
        };
        for (points, column) in self.curves.iter_mut().zip(columns) {
            points.extend(steps, &in_seconds(column)?)?;
        }
        let curves = self.curves.len();
        self.learn(columns.iter().skip(curves))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let curves = self.curves.iter_mut().map(Points::sorted).collect();
        self.finish.finish(&RunCurves { curves, facts: &self.facts })
    }

    fn size(&self) -> usize {
        let points: usize = self.curves.iter().map(|points| size_of_val(points) + points.heap_size()).sum();
        size_of_val(self) + points + size_of_val(self.facts.as_slice())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut state = Vec::with_capacity(self.curves.len() * STATE_COLUMNS + self.facts.len());
        for points in &mut self.curves {
            state.extend(points.take_state()?);
        }
        state.extend(self.facts.iter().map(|fact| ScalarValue::Float64(*fact)));
        Ok(state)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for (points, columns) in self.curves.iter_mut().zip(states.chunks(STATE_COLUMNS)) {
            points.merge(columns)?;
        }
        let curves = self.curves.len();
        self.learn(states.iter().skip(curves * STATE_COLUMNS))
    }
}

/// A column of numbers as it is, a column of times in seconds.
fn in_seconds(column: &ArrayRef) -> Result<ArrayRef> {
    let DataType::Timestamp(unit, _) = column.data_type() else {
        return Ok(Arc::clone(column));
    };
    let units_per_second = match unit {
        TimeUnit::Second => 1.0,
        TimeUnit::Millisecond => 1e3,
        TimeUnit::Microsecond => 1e6,
        TimeUnit::Nanosecond => 1e9,
    };
    let times = cast(column, &DataType::Int64)?;
    let seconds: Float64Array =
        times.as_primitive::<Int64Type>().unary(|time| time as f64 / units_per_second);
    Ok(Arc::new(seconds))
}
