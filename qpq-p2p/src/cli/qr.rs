//! QR codes in the characters of a terminal: two rows of modules in one line of text.

use fast_qr::{ECL, QRBuilder};

/// Modules of light around the code. The standard asks for four; readers do with two.
const QUIET: usize = 2;

/// A QR code as text. Light modules are blocks, dark ones gaps.
#[derive(Debug)]
pub(super) struct Figure {
    /// Lines, all of them as wide as `columns`.
    pub(super) text: String,
    pub(super) columns: usize,
}

/// Draws a text with the lowest error correction: it is shown on a screen, not printed on a parcel. Upper case and
/// digits take the least room. `None`: it is too long for any QR code.
pub(super) fn draw(text: &str) -> Option<Figure> {
    let code = QRBuilder::new(text).ecl(ECL::L).build().ok()?;
    let columns = code.size + 2 * QUIET;
    let inside = QUIET..QUIET + code.size;
    let is_dark = |row: usize, column: usize| {
        let is_inside = inside.contains(&row) && inside.contains(&column);
        // Below the last row there is nothing, which is as dark as the gaps.
        row >= columns || (is_inside && code[row - QUIET][column - QUIET].value())
    };
    let block = |row: usize, column: usize| match (is_dark(row, column), is_dark(row + 1, column)) {
        (false, false) => '█',
        (false, true) => '▀',
        (true, false) => '▄',
        (true, true) => ' ',
    };
    let line = |row: usize| (0..columns).map(|column| block(row, column)).collect::<String>();
    let lines: Vec<_> = (0..columns).step_by(2).map(line).collect();
    Some(Figure {
        text: lines.join("\n"),
        columns,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    /// Pixels of one module, and of the edge of the screen around the figure.
    const SCALE: usize = 4;

    /// Looks at the figure as a camera does that knows nothing of QR codes: black where there is no block.
    fn scanned(figure: &Figure) -> String {
        let lines: Vec<Vec<char>> = figure.text.lines().map(|line| line.chars().collect()).collect();
        assert!(lines.iter().all(|line| line.len() == figure.columns));
        let is_light = |row: usize, column: usize| match lines[row / 2][column] {
            '█' => true,
            '▀' => row.is_multiple_of(2),
            '▄' => !row.is_multiple_of(2),
            ' ' => false,
            other => panic!("{other:?} is no block"),
        };
        let (width, height) = (figure.columns * SCALE, lines.len() * 2 * SCALE);
        let grey = |x: usize, y: usize| if is_light(y / SCALE, x / SCALE) { 255 } else { 0 };
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, grey);
        let grids = image.detect_grids();
        grids[0].decode().unwrap().1
    }

    fn vector(kind: &str) -> String {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../qpq-core/test_vectors/links");
        let text = std::fs::read_to_string(folder.join(format!("{kind}.txt"))).unwrap();
        text.trim_end().to_owned()
    }

    #[test]
    fn a_scanner_reads_what_was_drawn() {
        for kind in ["lan", "v4", "v6", "name", "longest"] {
            let link = vector(kind);
            assert_eq!(scanned(&draw(&link).unwrap()), link, "{kind}");
        }
        assert_eq!(scanned(&draw("12345 67890 12345").unwrap()), "12345 67890 12345");
    }

    #[test]
    fn the_longest_link_has_45_by_23_cells_and_fits_a_small_terminal() {
        let figure = draw(&vector("longest")).unwrap();
        assert_eq!((figure.columns, figure.text.lines().count()), (45, 23));
        let lan = draw(&vector("lan")).unwrap();
        assert_eq!((lan.columns, lan.text.lines().count()), (37, 19));
    }

    #[test]
    fn what_no_qr_code_holds_is_not_drawn() {
        assert!(draw(&"A".repeat(5_000)).is_none());
    }
}
