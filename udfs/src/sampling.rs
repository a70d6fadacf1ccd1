//! What the sampling aggregates have in common: `(step, value, n)` in, a list of points out.

use std::hash::Hash;
use std::marker::PhantomData;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Documentation, Signature, Volatility};

use crate::args::{WholeNumber, check_count, checked_when_planned, refuse_distinct, series_types};
use crate::curve::SortedPoints;
use crate::kernels::curve::{Curve, Slices, Values};
use crate::points::Points;
use crate::series::{Finish, SeriesAccumulator, empty_list, points_type};

/// One way to sample a curve.
pub trait Sampling: std::fmt::Debug + Eq + Hash + Send + Sync + 'static {
    /// SQL name of the function.
    const NAME: &'static str;
    /// Name of the third argument.
    const COUNT: &'static str;
    /// Least value of the third argument.
    const MIN: i64;

    /// Most points the result may have for a third argument of `n`; a shorter input is the result.
    fn capacity(n: usize) -> usize;

    /// Ascending indices of at most `capacity` points of a curve of finite numbers.
    fn sample(curve: &impl Curve, capacity: usize) -> Vec<usize>;

    /// Documentation of the function.
    fn documentation() -> &'static Documentation;
}

/// Aggregate that samples a curve: `(step, value, n)` to a list of struct(step, value).
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Sampler<S> {
    signature: Signature,
    sampling: PhantomData<S>,
}

impl<S> Default for Sampler<S> {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable), sampling: PhantomData }
    }
}

impl<S: Sampling> Sampler<S> {
    const NUMBER: WholeNumber =
        WholeNumber { function: S::NAME, name: S::COUNT, position: 2, min: S::MIN, max: i64::MAX };
}

impl<S: Sampling> AggregateUDFImpl for Sampler<S> {
    fn name(&self) -> &str {
        S::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        check_count(S::NAME, types, &[3])?;
        series_types(S::NAME, types, Some(&Self::NUMBER))
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(step) => Ok(points_type(step)),
            None => plan_err!("{} takes a step", S::NAME),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(S::NAME, args.is_distinct)?;
        let (Some(n), Some(step)) = (Self::NUMBER.get(args.exprs)?, args.expr_fields.first()) else {
            return plan_err!("{} takes 3 arguments", S::NAME);
        };
        let sample = Sample::<S> { capacity: S::capacity(n), sampling: PhantomData };
        Ok(Box::new(SeriesAccumulator::new(step.data_type(), sample)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(Points::state_fields(args.name))
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        checked_when_planned(S::NAME, |args| Self::NUMBER.check(args))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        empty_list(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(S::documentation())
    }
}

#[derive(Debug)]
struct Sample<S> {
    capacity: usize,
    sampling: PhantomData<S>,
}

impl<S: Sampling> Finish for Sample<S> {
    fn finish(&self, points: &SortedPoints<'_>) -> Result<ScalarValue> {
        points.list(&sample_points::<S>(points, self.capacity))
    }
}

/// Samples sorted points: all when they fit, else the finite ones and the first that is not.
fn sample_points<S: Sampling>(points: &SortedPoints<'_>, capacity: usize) -> Vec<usize> {
    if points.len() <= capacity {
        return (0..points.len()).collect();
    }
    let Some(onset) = points.first_not_finite() else {
        return S::sample(points, capacity);
    };
    let (x, y) = (points.x(0..points.len()), points.values(0..points.len()));
    let finite: Vec<usize> = (0..points.len()).filter(|&index| y[index].is_finite()).collect();
    let x: Vec<f64> = finite.iter().map(|&index| x[index]).collect();
    let y: Vec<f64> = finite.iter().map(|&index| y[index]).collect();
    let sampled = S::sample(&Slices::new(&x, &y), capacity.saturating_sub(1));
    let mut chosen: Vec<usize> = sampled.into_iter().map(|index| finite[index]).collect();
    let place = chosen.partition_point(|&index| index < onset);
    chosen.insert(place, onset);
    chosen
}
