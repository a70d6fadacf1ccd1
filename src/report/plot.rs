//! Curves as a picture: for a terminal, as SVG, PNG or HTML, all by one drawing.

mod axis;
mod png;
mod screen;

use super::cell::{one_line, short_float};
use super::number::NumberFormat;
use crate::error::UserError;
use anyhow::{Result, anyhow};
use axis::{Ticked, even_ticks, log_ticks};
use plotters::chart::{ChartBuilder, ChartContext, LabelAreaPosition, SeriesLabelPosition};
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Cross, PathElement, Pixel};
use plotters::prelude::{BitMapBackend, Cartesian2d, DrawingBackend, LineSeries, SVGBackend};
use plotters::style::{Color, FontStyle, IntoFont, RGBColor, ShapeStyle, WHITE, register_font};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::LazyLock;

/// A picture file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picture {
    /// Pixels.
    Png,
    /// Lines.
    Svg,
    /// A page with the lines and the points as a table.
    Html,
}

impl Picture {
    /// The picture a file name's extension asks for.
    pub fn from_extension(extension: &str) -> Option<Picture> {
        match extension.to_ascii_lowercase().as_str() {
            "png" => Some(Picture::Png),
            "svg" => Some(Picture::Svg),
            "html" | "htm" => Some(Picture::Html),
            _ => None,
        }
    }
}

/// One curve. Values that are NaN or infinite break its line, and are marked at the foot of the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// What it is called in the legend.
    pub label: String,
    /// Step and value, ascending by step.
    pub points: Vec<(i64, f64)>,
}

/// What is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// Line above.
    pub title: String,
    /// What the steps mean.
    pub axis: String,
    /// The curves, at least one.
    pub curves: Vec<Curve>,
    /// Whether a step up is a tenfold value. What is not positive has no place then.
    pub is_log: bool,
    /// How values are written, where that is set.
    pub format: Option<NumberFormat>,
}

/// Colours of the curves, by turns; readable by people who see few colours (Okabe and Ito 2008).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

const AXIS: RGBColor = RGBColor(60, 60, 60);
const GRID: RGBColor = RGBColor(225, 225, 225);
const NAN: RGBColor = RGBColor(200, 0, 0);

/// Greatest value of a plain axis: the arithmetic of its labels ends somewhere.
const MOST: f64 = 1e30;
/// Least distance of two values that an axis can tell apart.
const LEAST: f64 = 1e-30;

/// The size of things: on a screen a pixel is a dot, eight of which are a character.
#[derive(Debug, Clone, Copy)]
struct Look {
    is_screen: bool,
    font_size: u32,
    margin: u32,
    /// Height of the labels below.
    foot: u32,
    /// Width of a character.
    letter: u32,
    /// Height of a line of labels.
    line: u32,
}

const SCREEN: Look = Look { is_screen: true, font_size: 4, margin: 0, foot: 8, letter: 2, line: 4 };
const PAPER: Look = Look { is_screen: false, font_size: 14, margin: 14, foot: 44, letter: 9, line: 18 };

/// A colour of a curve, by its place.
fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

impl Plot {
    /// The picture in text, so many characters wide and high; in colour, or with a sign for each curve.
    ///
    /// # Errors
    /// When there is nothing to draw.
    pub fn on_screen(&self, width: u16, height: u16, has_colour: bool) -> Result<String> {
        let mut screen = screen::Screen::new(width, height);
        self.draw(&(&mut screen).into_drawing_area(), SCREEN)?;
        let many = self.curves.len() > 1;
        Ok(format!("{}{}", self.legend(has_colour, many), screen.text(has_colour, many)))
    }

    /// The title, and the name of each curve behind its sign.
    fn legend(&self, has_colour: bool, many: bool) -> String {
        let mut text = format!("{}\n", one_line(&self.title));
        for (index, curve) in self.curves.iter().enumerate().filter(|_| many) {
            let sign = screen::sign(index, has_colour, true);
            text.push_str(&format!("{sign} {}\n", one_line(&curve.label)));
        }
        text
    }

    /// The picture as the bytes of a file, so many pixels wide and high.
    ///
    /// # Errors
    /// When there is nothing to draw.
    pub fn to_file(&self, picture: Picture, width: u32, height: u32) -> Result<Vec<u8>> {
        know_font()?;
        match picture {
            Picture::Png => {
                let mut pixels = vec![0; width as usize * height as usize * 3];
                let backend = BitMapBackend::with_buffer(&mut pixels, (width, height));
                self.draw_on_paper(backend)?;
                png::encode(&pixels, width, height)
            }
            Picture::Svg => Ok(self.svg(width, height)?.into_bytes()),
            Picture::Html => Ok(self.html(&self.svg(width, height)?).into_bytes()),
        }
    }

    fn svg(&self, width: u32, height: u32) -> Result<String> {
        let mut text = String::new();
        self.draw_on_paper(SVGBackend::with_string(&mut text, (width, height)))?;
        Ok(text)
    }

    fn draw_on_paper<B: DrawingBackend>(&self, backend: B) -> Result<()> {
        let area = backend.into_drawing_area();
        area.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
        self.draw(&area, PAPER)
    }

    /// A page that needs nothing else.
    fn html(&self, svg: &str) -> String {
        let title = escaped(&self.title);
        let rows = self.curves.iter().flat_map(|curve| {
            let name = escaped(&curve.label);
            let row = move |(step, value): &(i64, f64)| {
                let value = self.format.map_or_else(|| short_float(*value), |format| format.text(*value));
                format!("<tr><td>{name}<td>{step}<td>{value}\n")
            };
            curve.points.iter().map(row)
        });
        let rows: String = rows.collect();
        format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\n\
             <style>body{{font-family:sans-serif;margin:2em}}svg{{max-width:100%;height:auto}}\
             td{{padding:0 1em 0 0}}</style>\n{svg}\n\
             <details><summary>Points</summary><table><tr><th>curve<th>step<th>value\n{rows}</table></details></html>\n"
        )
    }

    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, plotters::coord::Shift>,
        look: Look,
    ) -> Result<()> {
        let lines: Vec<Line> = self.curves.iter().map(|curve| Line::of(curve, self.is_log)).collect();
        let (x, y) = bounds(&lines, self.is_log)?;
        let (width, height) = area.dim_in_pixel();
        let labels = y_labels(&y, self.is_log, look, height);
        let ticks = if self.is_log { log_ticks(&y, labels.len()) } else { even_ticks(&y, labels.len()) };
        let format = self.format.filter(|format| tells_apart(*format, &ticks, self.is_log));
        let labels = match self.is_log || format.is_some() {
            true => ticks.iter().map(|tick| label(*tick, self.is_log, format)).collect(),
            false => labels,
        };
        let side = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0) as u32 + 1;
        let mut builder = ChartBuilder::on(area);
        builder
            .margin(look.margin)
            .set_label_area_size(LabelAreaPosition::Left, side * look.letter)
            .set_label_area_size(LabelAreaPosition::Bottom, look.foot);
        if !look.is_screen {
            builder
                .caption(one_line(&self.title), ("sans-serif", look.font_size + 4).into_font().color(&AXIS));
        }
        let rows = Ticked::new(&y, ticks);
        let mut chart = builder.build_cartesian_2d(x, rows).map_err(drawn)?;
        self.mesh(&mut chart, look, width / (look.letter * 10), format)?;
        for (index, line) in lines.iter().enumerate() {
            self.draw_line(&mut chart, index, line, y.start, look)?;
        }
        if self.curves.len() > 1 && !look.is_screen {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .background_style(WHITE.mix(0.8))
                .border_style(GRID)
                .label_font(("sans-serif", look.font_size).into_font())
                .draw()
                .map_err(drawn)?;
        }
        area.present().map_err(|error| anyhow!("{error}"))
    }

    fn mesh<B: DrawingBackend>(
        &self,
        chart: &mut Chart<'_, B>,
        look: Look,
        columns: u32,
        format: Option<NumberFormat>,
    ) -> Result<()> {
        let font = || ("sans-serif", look.font_size).into_font().color(&AXIS);
        let y_label = |value: &f64| label(*value, self.is_log, format);
        let x_label = |value: &f64| short_float(*value);
        let mut mesh = chart.configure_mesh();
        mesh.axis_style(AXIS)
            .bold_line_style(GRID)
            .light_line_style(GRID.mix(0.0))
            .x_labels(columns.max(2) as usize)
            .x_label_formatter(&x_label)
            .y_label_formatter(&y_label)
            .label_style(font());
        match look.is_screen {
            true => mesh
                .disable_mesh()
                .set_tick_mark_size(LabelAreaPosition::Left, 0)
                .set_tick_mark_size(LabelAreaPosition::Bottom, 0),
            false => mesh.x_desc(one_line(&self.axis)),
        };
        mesh.draw().map_err(drawn)
    }

    fn draw_line<B: DrawingBackend>(
        &self,
        chart: &mut Chart<'_, B>,
        index: usize,
        line: &Line,
        foot: f64,
        look: Look,
    ) -> Result<()> {
        let style: ShapeStyle =
            if look.is_screen { colour(index).into() } else { colour(index).stroke_width(2) };
        for (place, part) in line.parts.iter().enumerate() {
            let series = chart.draw_series(LineSeries::new(part.iter().copied(), style)).map_err(drawn)?;
            if place == 0 {
                series
                    .label(one_line(&self.curves[index].label))
                    .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], style));
            }
            if let [point] = part.as_slice() {
                chart.draw_series([Pixel::new(*point, colour(index))]).map_err(drawn)?;
            }
        }
        let crosses = line.breaks.iter().filter(|_| !look.is_screen);
        chart.draw_series(crosses.map(|x| Cross::new((*x, foot), 4, NAN.stroke_width(2)))).map_err(drawn)?;
        Ok(())
    }
}

type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, Ticked>>;

/// What may go wrong is what the place of the drawing says: memory does not.
fn drawn<E: std::error::Error + Send + Sync>(
    error: plotters::drawing::DrawingAreaErrorKind<E>,
) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

/// A curve in the numbers of the picture.
struct Line {
    /// Stretches without a break.
    parts: Vec<Vec<(f64, f64)>>,
    /// Where a value is NaN or infinite.
    breaks: Vec<f64>,
}

impl Line {
    fn of(curve: &Curve, is_log: bool) -> Line {
        let mut line = Line { parts: Vec::new(), breaks: Vec::new() };
        let mut is_open = false;
        for (step, value) in &curve.points {
            let (x, y) = (*step as f64, if is_log { value.log10() } else { *value });
            match (y.is_finite(), is_open) {
                (true, true) => line.parts.last_mut().map(|part| part.push((x, y))).unwrap_or_default(),
                (true, false) => line.parts.push(vec![(x, y)]),
                (false, _) => {
                    if !value.is_finite() {
                        line.breaks.push(x);
                    }
                }
            }
            is_open = y.is_finite();
        }
        line
    }
}

fn bounds(lines: &[Line], is_log: bool) -> Result<(Range<f64>, Range<f64>)> {
    let points = || lines.iter().flat_map(|line| line.parts.iter().flatten());
    let broken = || lines.iter().flat_map(|line| line.breaks.iter().copied());
    let x = range(points().map(|point| point.0).chain(broken()));
    let y = range(points().map(|point| point.1));
    match (x, y) {
        (Some(_), Some(y)) if y.start.abs().max(y.end.abs()) > MOST => {
            let message = format!("values above {MOST:e} have no place on a plain axis");
            Err(UserError::failed(message).hint("add --log").into())
        }
        (Some(x), Some(y)) => {
            let space = (y.end - y.start) * 0.02;
            Ok((x, y.start - space..y.end + space))
        }
        _ if is_log => {
            Err(UserError::failed("no value is positive: there is nothing to draw with --log").into())
        }
        _ => Err(UserError::failed("no value is finite: there is nothing to draw").into()),
    }
}

/// From the least to the greatest, wide enough for labels that differ.
fn range(numbers: impl Iterator<Item = f64>) -> Option<Range<f64>> {
    let (low, high) = numbers
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), number| (low.min(number), high.max(number)));
    let size = low.abs().max(high.abs());
    match (low.is_finite() && high.is_finite(), high - low > (size * 1e-9).max(LEAST)) {
        (true, true) => Some(low..high),
        (true, false) => Some(low - size.max(1.0) * 0.5..high + size.max(1.0) * 0.5),
        (false, _) => None,
    }
}

/// The labels at the side, to know their width: as many as have room.
fn y_labels(y: &Range<f64>, is_log: bool, look: Look, height: u32) -> Vec<String> {
    let room = (height.saturating_sub(look.foot) / (look.line * 3)).clamp(2, 10) as usize;
    let at = |part: usize| y.start + (y.end - y.start) * part as f64 / room as f64;
    (0..=room).map(|part| label(at(part), is_log, None)).collect()
}

/// Whether a format gives ticks labels that differ.
fn tells_apart(format: NumberFormat, ticks: &[f64], is_log: bool) -> bool {
    let labels: BTreeSet<String> = ticks.iter().map(|tick| label(*tick, is_log, Some(format))).collect();
    labels.len() == ticks.len()
}

fn label(value: f64, is_log: bool, format: Option<NumberFormat>) -> String {
    let value = if is_log { 10_f64.powf(value) } else { value };
    if let Some(format) = format {
        return format.text(value);
    }
    // Three digits tell ticks apart, and six of them are no wider than what they are cut from.
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    short_float(rounded)
}

fn escaped(text: &str) -> String {
    one_line(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The one font of pictures, which is part of the program: Hack (MIT, Bitstream Vera).
fn know_font() -> Result<()> {
    static KNOWN: LazyLock<bool> = LazyLock::new(|| {
        register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::HACK_REGULAR).is_ok()
    });
    if *KNOWN { Ok(()) } else { Err(anyhow!("the font of pictures cannot be read; this is a bug")) }
}

#[cfg(test)]
mod tests;
