//! A scalar function over texts, for the few that the tables themselves need.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

type Body = dyn Fn(&[Option<&str>]) -> Option<String> + Send + Sync;

/// `name(text, ...) -> text`. Two functions of one name are the same function.
pub struct TextFunction {
    name: &'static str,
    signature: Signature,
    body: Arc<Body>,
}

impl TextFunction {
    /// A function of `arguments` texts.
    pub fn new(
        name: &'static str,
        arguments: usize,
        body: impl Fn(&[Option<&str>]) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let signature = Signature::any(arguments, Volatility::Immutable);
        Self { name, signature, body: Arc::new(body) }
    }
}

impl fmt::Debug for TextFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for TextFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for TextFunction {}

impl Hash for TextFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for TextFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let texts: Vec<ArrayRef> =
            arrays.iter().map(|array| cast(array, &DataType::Utf8View)).collect::<Result<_, _>>()?;
        let mut columns: Vec<&StringViewArray> = Vec::with_capacity(texts.len());
        for text in &texts {
            match text.as_string_view_opt() {
                Some(column) => columns.push(column),
                None => return exec_err!("{} takes text", self.name),
            }
        }
        let rows = columns.first().map_or(args.number_rows, |column| column.len());
        let texts_of = |row: usize| -> Vec<Option<&str>> {
            columns.iter().map(|column| column.is_valid(row).then(|| column.value(row))).collect()
        };
        let mut builder = StringViewBuilder::with_capacity(rows);
        // Tables are sorted: equal texts follow each other.
        let mut last: Option<(Vec<Option<&str>>, Option<String>)> = None;
        for row in 0..rows {
            let texts = texts_of(row);
            let known = last.take().filter(|(known, _)| *known == texts);
            let (texts, result) = known.unwrap_or_else(|| {
                let result = (self.body)(&texts);
                (texts, result)
            });
            builder.append_option(result.as_deref());
            last = Some((texts, result));
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}
