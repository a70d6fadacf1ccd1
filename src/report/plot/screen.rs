//! A drawing in characters: a curve is dots, eight to a character (braille), or a sign where there are
//! several curves and no colours.

use super::{AXIS, colour};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};
use plotters_backend::{BackendColor, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind};
use std::convert::Infallible;

/// Dots of a character, across and down.
const DOTS: (u32, u32) = (2, 4);

/// The bit of each dot in a braille character.
const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// Signs of the curves where colours do not tell them apart.
const SIGNS: [char; 7] = ['*', 'o', '+', 'x', '#', '@', '%'];

/// Escapes of the curves' colours, nearest to those of pictures.
const PAINTS: [&str; 7] = ["34", "31", "32", "35", "33", "36", "37"];

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    bits: u8,
    curve: Option<usize>,
    letter: Option<char>,
}

/// Characters, row by row.
pub struct Screen {
    columns: u32,
    rows: u32,
    cells: Vec<Cell>,
}

impl Screen {
    /// An empty one.
    pub fn new(columns: u16, rows: u16) -> Screen {
        let (columns, rows) = (u32::from(columns), u32::from(rows));
        Screen { columns, rows, cells: vec![Cell::default(); (columns * rows) as usize] }
    }

    fn cell(&mut self, x: i32, y: i32) -> Option<&mut Cell> {
        let (x, y) = (u32::try_from(x).ok()?, u32::try_from(y).ok()?);
        let is_inside = x < self.columns && y < self.rows;
        is_inside.then(|| self.cells.get_mut((y * self.columns + x) as usize)).flatten()
    }

    /// The lines, without blanks at their ends.
    pub fn text(&self, has_colour: bool, many: bool) -> String {
        let mut text = String::new();
        for row in self.cells.chunks(self.columns.max(1) as usize) {
            let line: String = row.iter().map(|cell| shown(*cell, has_colour, many)).collect();
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn shown(cell: Cell, has_colour: bool, many: bool) -> String {
    match (cell.letter, cell.curve) {
        (_, Some(curve)) if many && !has_colour => sign(curve, false, false),
        (_, Some(curve)) => {
            let dots = char::from_u32(0x2800 + u32::from(cell.bits)).unwrap_or(' ');
            if has_colour { painted(curve, dots) } else { dots.to_string() }
        }
        (Some(letter), None) => letter.to_string(),
        (None, None) => " ".to_owned(),
    }
}

/// The sign of a curve; in the legend of a coloured picture a stroke.
pub fn sign(curve: usize, has_colour: bool, is_legend: bool) -> String {
    match has_colour && is_legend {
        true => painted(curve, '━'),
        false => SIGNS[curve % SIGNS.len()].to_string(),
    }
}

fn painted(curve: usize, letter: char) -> String {
    format!("\x1b[{}m{letter}\x1b[0m", PAINTS[curve % PAINTS.len()])
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for &mut Screen {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        (self.columns * DOTS.0, self.rows * DOTS.1)
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): (i32, i32), ink: BackendColor) -> Drawn {
        let curve = (0..SIGNS.len()).find(|index| colour(*index).to_backend_color().rgb == ink.rgb);
        let (Some(curve), true) = (curve, x >= 0 && y >= 0) else { return Ok(()) };
        let dot = BITS[(y % 4) as usize][(x % 2) as usize];
        if let Some(cell) = self.cell(x / 2, y / 4) {
            cell.bits |= dot;
            cell.curve = Some(curve);
        }
        Ok(())
    }

    /// The axes are lines of characters.
    fn draw_line<S: BackendStyle>(&mut self, from: (i32, i32), to: (i32, i32), style: &S) -> Drawn {
        if style.color().rgb != AXIS.to_backend_color().rgb {
            return plotters_backend::rasterizer::draw_line(self, from, to, style);
        }
        let is_upright = from.0 == to.0;
        let (x, y) =
            (from.0.min(to.0) / 2..=from.0.max(to.0) / 2, from.1.min(to.1) / 4..=from.1.max(to.1) / 4);
        for (x, y) in x.flat_map(|x| y.clone().map(move |y| (x, y))) {
            if let Some(cell) = self.cell(x, y) {
                cell.letter = Some(if is_upright { '│' } else { '─' });
            }
        }
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        _: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        Ok((text.chars().count() as u32 * DOTS.0, DOTS.1))
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, (x, y): (i32, i32)) -> Drawn {
        let (width, height) = self.estimate_text_size(text, style)?;
        let (width, height) = (width as i32, height as i32);
        let x = match style.anchor().h_pos {
            HPos::Left => x,
            // Room for the axis.
            HPos::Right => x - width - DOTS.0 as i32,
            HPos::Center => x - width / 2,
        };
        let y = match style.anchor().v_pos {
            VPos::Top => y + DOTS.1 as i32,
            VPos::Center => y - height / 2,
            VPos::Bottom => y - height,
        };
        // A label at the edge stays whole.
        let x = x.min(self.columns as i32 * 2 - width).max(0);
        for (place, letter) in (x / 2..).zip(text.chars()) {
            if let Some(cell) = self.cell(place, (y + height / 2) / 4) {
                cell.letter = Some(letter);
            }
        }
        Ok(())
    }
}
